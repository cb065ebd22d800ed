"""Where levels, links and panels of the tail lie: what the kernels of a factor share.

A record is made once for a set of blocks; the numbers that lie so are arrays beside it.
"""

import numpy as np


cdef const Py_ssize_t* _address(const Py_ssize_t[::1] numbers):
    return &numbers[0] if numbers.shape[0] else NULL


cdef class TailLevels:
    """Levels of the tail: each is a block of columns, and belongs to a factor.

    Parameters
    ----------
    start : ndarray
        (levels + 1,) first column of every level, and their end.
    factor : ndarray
        (levels,) number of the level's grouping factor.
    """

    def __cinit__(self, start, factor):
        self.n_levels, self.n_columns = len(factor), start[len(factor)]
        of_column = np.repeat(np.arange(len(factor), dtype=np.intp), np.diff(start))
        self.arrays = start, factor, of_column
        self.at = LevelArrays(_address(start), _address(factor), _address(of_column))

    def __reduce__(self):
        return TailLevels, self.arrays[:2]


cdef class Links:
    """Links, the rows of Z_tail'Z_l that are not zero, by level and by column of the tail.

    Parameters
    ----------
    pointers : ndarray
        (L + 1,) where the links of every level of the leading factor begin, and their end.
    index : ndarray
        (nnz,) the column of the tail of every link, ascending within a level.
    n_columns : int
        m, columns of the tail.

    Attributes
    ----------
    work : ndarray
        (m,) pairs of links of one level that each column is the later one of.
    """

    def __cinit__(self, pointers, index, n_columns):
        self.n_links, self.n_levels = len(index), len(pointers) - 1
        self.n_columns = n_columns
        starts, order = np.zeros(n_columns + 1, np.intp), np.empty(len(index), np.intp)
        level, self.work = np.empty_like(order), np.zeros(n_columns)
        self.arrays = pointers, index, starts, order, level
        self.at = LinkArrays(
            _address(pointers), _address(index), _address(starts), _address(order),
            _address(level),
        )
        _sort_links(pointers, index, starts, order, level, self.work)

    def __reduce__(self):
        return Links, (*self.arrays[:2], self.n_columns)


cdef void _sort_links(
    const Py_ssize_t[::1] pointers, const Py_ssize_t[::1] index,
    Py_ssize_t[::1] starts, Py_ssize_t[::1] order, Py_ssize_t[::1] level,
    double[::1] work,
) noexcept nogil:
    # Counting sort of the links by column; starts and work are zero on entry.
    cdef Py_ssize_t s, number, at, column
    for s in range(index.shape[0]):
        starts[index[s] + 1] += 1
    for column in range(work.shape[0]):
        starts[column + 1] += starts[column]
    for number in range(pointers.shape[0] - 1):
        for s in range(pointers[number], pointers[number + 1]):
            column = index[s]
            at = starts[column]
            starts[column] += 1
            order[at], level[at] = s, number
            work[column] += s - pointers[number] + 1
    for column in range(work.shape[0], 0, -1):
        starts[column] = starts[column - 1]
    starts[0] = 0


cdef class Supernodes:
    """Supernodes of a pattern, and where their panels lie in one array.

    Parameters
    ----------
    pointers, rows : ndarray
        (m + 1,) and (stored,) the pattern: row lists of the columns, from the diagonal on.
    start : ndarray
        (nodes + 1,) first column of every supernode, and their end.

    Attributes
    ----------
    size : int
        Numbers in all panels.
    tallest, widest : int
        Most rows, and most columns, of a panel.
    most_below : int
        Most rows of a panel below its block on the diagonal.
    """

    def __cinit__(self, pointers, rows, start):
        count, width = len(start) - 1, np.diff(start)
        height = np.diff(pointers)[start[:count]]
        place = np.concatenate([[0], np.cumsum(width * height)]).astype(np.intp)
        node_of = np.repeat(np.arange(count, dtype=np.intp), width)
        self.n_nodes, self.size = count, place[count]
        self.tallest, self.widest = height.max(), width.max()
        self.most_below = (height - width).max()
        self.arrays = pointers, rows, start, place, node_of
        self.at = NodeArrays(
            _address(pointers), _address(rows), _address(start), _address(place),
            _address(node_of),
        )

    def __reduce__(self):
        return Supernodes, self.arrays[:3]
