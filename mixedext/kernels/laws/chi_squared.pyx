"""Chi-squared random variables of few degrees of freedom, in a Generator's stream.

With one degree of freedom it is the square of a normal variable, whose sign nobody needs:
the ziggurat (Marsaglia and Tsang 2000) for half of the density takes one random word and no
branch that a processor cannot foresee.  Two degrees more are -2 log of a uniform variable
more, several of which share one logarithm.
"""

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport erfc, exp, log, sqrt
from numpy.random cimport bitgen_t

# Layers of equal area under exp(-x^2 / 2), and where the lowest one's rectangle ends.
cdef enum:
    LAYERS = 256
cdef double LAST = 3.6541528853610088
cdef double UNIT = 1.0 / 9007199254740992.0  # 2^-53

# Layer i lies between heights[i] and heights[i + 1] and is edges[i] wide; the lowest one
# is as wide as a rectangle of its area, tail and all.
cdef double[LAYERS + 1] edges, heights


cdef void _cut_layers() noexcept:
    cdef double area = LAST * exp(-0.5 * LAST * LAST)
    cdef int i
    area += sqrt(0.5 * 3.141592653589793) * erfc(LAST / sqrt(2.0))
    edges[0], edges[1] = area * exp(0.5 * LAST * LAST), LAST
    heights[0], heights[1] = 0.0, exp(-0.5 * LAST * LAST)
    for i in range(2, LAYERS):
        heights[i] = heights[i - 1] + area / edges[i - 1]
        edges[i] = sqrt(-2.0 * log(heights[i]))
    edges[LAYERS], heights[LAYERS] = 0.0, 1.0


_cut_layers()


cdef inline double _uniform(bitgen_t* source) noexcept nogil:
    # above 0, not above 1
    return ((source.next_uint64(source.state) >> 11) + 1) * UNIT


cdef double _beyond_the_last(bitgen_t* source) noexcept nogil:
    # The normal tail (Marsaglia 1964).
    cdef double beyond
    while True:
        beyond = -log(_uniform(source)) / LAST
        if -2.0 * log(_uniform(source)) > beyond * beyond:
            return LAST + beyond


cdef inline double _half_normal(bitgen_t* source) noexcept nogil:
    cdef unsigned long long word
    cdef int layer
    cdef double x, height
    while True:
        word = source.next_uint64(source.state)
        layer = word & (LAYERS - 1)
        x = (word >> 11) * UNIT * edges[layer]  # these bits do not choose the layer
        if x < edges[layer + 1]:
            return x
        if layer == 0:
            return _beyond_the_last(source)
        height = heights[layer]
        height += (heights[layer + 1] - height) * _uniform(source)
        if height < exp(-0.5 * x * x):
            return x


def fill(
    generator,                            # in: numpy.random.Generator
    const Py_ssize_t[::1] columns,        # in: (K,) the columns to be filled ...
    const Py_ssize_t[::1] degrees,        # in: (K,) ... and their degrees of freedom
    double[:, ::1] out,                   # out: (n, at least K)
):
    """Chi-squared variables, row by row: the same for any cut of the rows."""
    cdef bitgen_t* source = <bitgen_t*>PyCapsule_GetPointer(
        generator.bit_generator.capsule, "BitGenerator"
    )
    cdef Py_ssize_t i, j, _pair
    cdef double x, product
    with generator.bit_generator.lock, nogil:
        for i in range(out.shape[0]):
            for j in range(columns.shape[0]):
                x = 0.0
                if degrees[j] & 1:
                    x = _half_normal(source)
                    x *= x
                if degrees[j] > 1:
                    product = 1.0
                    for _pair in range(degrees[j] // 2):
                        product *= _uniform(source)
                    x -= 2.0 * log(product)
                out[i, columns[j]] = x
