module pushlive/tests/cluster/patient

go 1.26.0
