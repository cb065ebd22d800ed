"""Products of the links of one level of the lead with a column of the tail."""


cdef inline void subtract_at(
    double *column, const Py_ssize_t *index, const double *scaled, const double *own,
    Py_ssize_t start, Py_ssize_t stop, Py_ssize_t k,
) noexcept nogil:
    # column[index[t]] -= own . scaled[t]
    cdef Py_ssize_t t, a
    cdef double x, y, z
    if k == 1:
        x = own[0]
        for t in range(start, stop):
            column[index[t]] -= x * scaled[t]
    elif k == 2:
        x, y = own[0], own[1]
        for t in range(start, stop):
            column[index[t]] -= x * scaled[2 * t] + y * scaled[2 * t + 1]
    elif k == 3:
        x, y, z = own[0], own[1], own[2]
        for t in range(start, stop):
            column[index[t]] -= (
                x * scaled[3 * t] + y * scaled[3 * t + 1] + z * scaled[3 * t + 2]
            )
    else:
        for t in range(start, stop):
            x = 0.0
            for a in range(k):
                x += own[a] * scaled[k * t + a]
            column[index[t]] -= x


cdef inline void add_at(
    const double *column, const Py_ssize_t *index, const double *edge, double *out,
    Py_ssize_t start, Py_ssize_t stop, Py_ssize_t k,
) noexcept nogil:
    # out += sum_t column[index[t]] edge[t]
    cdef Py_ssize_t t, a
    cdef double c, x = 0.0, y = 0.0, z = 0.0, w = 0.0
    if k == 1:
        # four running sums: one would wait for itself at every addition
        t = start
        while t + 4 <= stop:
            x += column[index[t]] * edge[t]
            y += column[index[t + 1]] * edge[t + 1]
            z += column[index[t + 2]] * edge[t + 2]
            w += column[index[t + 3]] * edge[t + 3]
            t += 4
        for t in range(t, stop):
            x += column[index[t]] * edge[t]
        out[0] += (x + y) + (z + w)
    elif k == 2:
        for t in range(start, stop):
            c = column[index[t]]
            x += c * edge[2 * t]
            y += c * edge[2 * t + 1]
        out[0] += x
        out[1] += y
    elif k == 3:
        for t in range(start, stop):
            c = column[index[t]]
            x += c * edge[3 * t]
            y += c * edge[3 * t + 1]
            z += c * edge[3 * t + 2]
        out[0] += x
        out[1] += y
        out[2] += z
    else:
        for t in range(start, stop):
            c = column[index[t]]
            for a in range(k):
                out[a] += c * edge[k * t + a]
