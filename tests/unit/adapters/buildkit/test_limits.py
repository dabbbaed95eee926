import pytest

from pipeline.adapters.buildkit.limits import cap, check_disk, free_disk, why_uncapped
from pipeline.errors import EngineFailed

INFO = {"CgroupDriver": "cgroupfs", "CgroupVersion": "1", "MemTotal": 8 << 30, "NCPU": 4}


def test_builds_are_limited_by_version_1_of_cgroups(tmp_path):
    assert cap(INFO, 0, 0.0, tmp_path) == ""
    assert (tmp_path / "memory/docker/buildkit/memory.limit_in_bytes").read_text() == str(4 << 30)
    assert (tmp_path / "cpu/docker/buildkit/cpu.cfs_quota_us").read_text() == "350000"


def test_builds_are_limited_by_version_2_of_cgroups(tmp_path):
    assert cap({**INFO, "CgroupVersion": "2"}, 1 << 30, 1.5, tmp_path) == ""
    assert (tmp_path / "docker/buildkit/memory.max").read_text() == str(1 << 30)
    assert (tmp_path / "docker/buildkit/cpu.max").read_text() == "150000 100000"
    assert (tmp_path / "docker/cgroup.subtree_control").read_text() == "+cpu +memory"


def test_the_reason_is_given_if_builds_cannot_be_limited(tmp_path):
    assert "systemd" in cap({**INFO, "CgroupDriver": "systemd"}, 0, 0.0, tmp_path)
    (tmp_path / "memory").write_text("a file where the folder should be")
    assert "cannot be written" in cap(INFO, 0, 0.0, tmp_path)


def test_fault_22_too_little_disk_is_refused_with_figures(tmp_path):
    free = free_disk(str(tmp_path))
    assert free
    check_disk(str(tmp_path), free // 2)
    with pytest.raises(EngineFailed, match="GiB are free in"):
        check_disk(str(tmp_path), 1 << 60)
    check_disk("", 1 << 60)
    assert free_disk(str(tmp_path / "elsewhere")) is None


def test_whether_builds_can_be_limited_is_known_without_writing(tmp_path):
    assert why_uncapped(INFO, tmp_path) == ""
    assert list(tmp_path.iterdir()) == []
    assert "'systemd'" in why_uncapped({**INFO, "CgroupDriver": "systemd"}, tmp_path)
