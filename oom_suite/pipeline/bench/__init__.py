"""Times of kernels on a GPU, with the memory that they take beside.

`shapes`   what is called, without torch
`clock`    how a call is timed, on any device that can be
`inputs`   steps and gathers to rotate over
`timing`   the requests that a child with a GPU answers
`run`      every subject at every shape, one after the other
"""
