"""The Builder: images made by BuildKit in the Docker Engine."""
