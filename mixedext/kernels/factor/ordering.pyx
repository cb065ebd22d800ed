"""Elimination order of a sparse tail: graph, minimum degree, postorder, supernodes.

Nodes are the levels of the tail; two are neighbours if some level of the leading factor
meets both.  The graph is held as rows of bits, so that eliminating a node is one "or" of
machine words for each of its neighbours.
"""

from libc.stdint cimport uint64_t

ctypedef uint64_t Word


cdef inline Py_ssize_t _count(Word x) noexcept nogil:
    # bits set, by sums within bytes (Warren, Hacker's Delight, section 5-1)
    x = x - ((x >> 1) & <Word> 0x5555555555555555)
    x = (x & <Word> 0x3333333333333333) + ((x >> 2) & <Word> 0x3333333333333333)
    x = (x + (x >> 4)) & <Word> 0x0F0F0F0F0F0F0F0F
    return <Py_ssize_t> ((x * <Word> 0x0101010101010101) >> 56)


def meeting_graph(
    const Py_ssize_t[::1] pointers,       # in: (L + 1,) tail levels of each lead level ...
    const Py_ssize_t[::1] indices,        # in: (nnz,) ... their numbers
    Word[::1] row,                        # scratch: (words,)
    Word[:, ::1] bits,                    # out: (n, words), no node its own neighbour
):
    """Adjacency of the tail levels; returns the number of neighbours of all together."""
    cdef Py_ssize_t words = bits.shape[1], n = bits.shape[0], level, s, w, i, total = 0
    with nogil:
        bits[:, :] = 0
        for level in range(pointers.shape[0] - 1):
            if pointers[level + 1] - pointers[level] < 2:
                continue
            for w in range(words):
                row[w] = 0
            for s in range(pointers[level], pointers[level + 1]):
                i = indices[s]
                row[i >> 6] |= <Word> 1 << (i & 63)
            for s in range(pointers[level], pointers[level + 1]):
                i = indices[s]
                for w in range(words):
                    bits[i, w] |= row[w]
        for i in range(n):
            bits[i, i >> 6] &= ~(<Word> 1 << (i & 63))
            for w in range(words):
                total += _count(bits[i, w])
    return total


def sample_graph(
    const Py_ssize_t[::1] pointers,       # in: (L + 1,) as ``meeting_graph`` takes them
    const Py_ssize_t[::1] indices,        # in: (nnz,)
    const Py_ssize_t[::1] number,         # in: (n,) which sampled level this is, or -1
    unsigned char[:, ::1] met,            # out: (samples, n), 1 where two levels meet
):
    """Neighbours of a few tail levels; returns how many they have together."""
    cdef Py_ssize_t level, s, t, i, total = 0
    with nogil:
        met[:, :] = 0
        for level in range(pointers.shape[0] - 1):
            for s in range(pointers[level], pointers[level + 1]):
                i = number[indices[s]]
                if i < 0:
                    continue
                for t in range(pointers[level], pointers[level + 1]):
                    total += 1 - met[i, indices[t]]
                    met[i, indices[t]] = 1
    return total


def list_neighbours(
    const Word[:, ::1] bits,              # in: (n, words)
    const Py_ssize_t[::1] order,          # in: (n,) nodes in order of elimination
    const Py_ssize_t[::1] rank,           # in: (n,) its inverse
    Py_ssize_t[::1] pointers,             # out: (n + 1,)
    Py_ssize_t[::1] indices,              # out: (nnz,) neighbours eliminated before: ranks
):
    """Rows of the lower triangle of the reordered graph."""
    cdef Py_ssize_t n = order.shape[0], words = bits.shape[1], i, w, j, at = 0
    cdef Word x, lowest
    with nogil:
        pointers[0] = 0
        for i in range(n):
            for w in range(words):
                x = bits[order[i], w]
                while x:
                    lowest = x & (~x + 1)
                    j = rank[(w << 6) + _count(lowest - 1)]
                    if j < i:
                        indices[at] = j
                        at += 1
                    x ^= lowest
            pointers[i + 1] = at


def minimum_degree(
    Word[:, ::1] bits,                    # in: (n, words) the graph; overwritten
    double dense_share,                   # in: the rest is left as it is once as dense
    double most_work,                     # in: give up where the factor costs more
    Py_ssize_t[::1] degree, Word[::1] clique,  # scratch: (n,), (words,)
    Py_ssize_t[::1] order,                # out: (n,)
):
    """Order by minimum degree, with mass elimination (George and Liu 1989).

    Returns whether the order is complete: False where the work, in multiplications, must
    exceed ``most_work``.
    """
    cdef Py_ssize_t n = bits.shape[0], words = bits.shape[1]
    cdef Py_ssize_t i, u, v, w, d, least, done = 0, mass, start
    cdef double work = 0.0
    cdef Word x, lowest
    cdef bint complete = True
    with nogil:
        for i in range(n):
            degree[i] = 0
            for w in range(words):
                degree[i] += _count(bits[i, w])
        while done < n:
            least, v = n, -1
            for i in range(n):
                if 0 <= degree[i] < least:
                    least, v = degree[i], i
            d = least
            # a clique of d + 1 nodes must still be eliminated
            if work + d * <double> d * d / 6.0 > most_work:
                complete = False
                break
            if d >= dense_share * (n - done - 1):
                work += (n - done) * <double> (n - done) * (n - done) / 6.0
                complete = work <= most_work
                for i in range(n):
                    if degree[i] >= 0:
                        order[done] = i
                        done += 1
                break
            for w in range(words):
                clique[w] = bits[v, w]
            degree[v] = -1
            order[done] = v
            start = done
            done += 1
            for w in range(words):
                x = clique[w]
                while x:
                    lowest = x & (~x + 1)
                    u = (w << 6) + _count(lowest - 1)
                    x ^= lowest
                    degree[u] = _absorb(bits, clique, u, v)
                    if degree[u] == d - 1:  # no neighbours beyond the clique
                        degree[u] = -1
                        order[done] = u
                        done += 1
            mass = done - start
            for i in range(mass):
                work += 0.5 * (d - i) * <double> (d - i)
            if mass > 1:
                for i in range(start + 1, done):
                    u = order[i]
                    clique[u >> 6] &= ~(<Word> 1 << (u & 63))
                for w in range(words):
                    x = clique[w]
                    while x:
                        lowest = x & (~x + 1)
                        u = (w << 6) + _count(lowest - 1)
                        x ^= lowest
                        for i in range(start + 1, done):
                            bits[u, order[i] >> 6] &= ~(<Word> 1 << (order[i] & 63))
                        degree[u] -= mass - 1
    return bool(complete)


cdef inline Py_ssize_t _absorb(
    Word[:, ::1] bits, const Word[::1] clique, Py_ssize_t u, Py_ssize_t v,
) noexcept nogil:
    # make u a neighbour of the whole clique, v gone; returns its degree
    cdef Py_ssize_t w, words = bits.shape[1], total = 0
    cdef Word *row = &bits[u, 0]
    cdef const Word *other = &clique[0]
    for w in range(words):
        row[w] |= other[w]
    row[u >> 6] &= ~(<Word> 1 << (u & 63))
    row[v >> 6] &= ~(<Word> 1 << (v & 63))
    for w in range(words):
        total += _count(row[w])
    return total


def postorder(
    const Py_ssize_t[::1] parent,         # in: (n,) elimination tree, -1 at a root
    Py_ssize_t[::1] child, Py_ssize_t[::1] sibling, Py_ssize_t[::1] stack,  # scratch: (n,)
    Py_ssize_t[::1] order,                # out: (n,) children before their parents
):
    """Depth-first order of the elimination tree."""
    cdef Py_ssize_t n = parent.shape[0], i, j, top = 0, done = 0
    with nogil:
        for i in range(n):
            child[i] = -1
        for i in range(n - 1, -1, -1):
            if parent[i] != -1:
                sibling[i] = child[parent[i]]
                child[parent[i]] = i
        for i in range(n):
            if parent[i] != -1:
                continue
            stack[0], top = i, 1
            while top > 0:
                j = stack[top - 1]
                if child[j] != -1:
                    stack[top] = child[j]
                    child[j] = sibling[child[j]]
                    top += 1
                else:
                    order[done] = j
                    done += 1
                    top -= 1


def find_supernodes(
    const Py_ssize_t[::1] parent,         # in: (n,) elimination tree in postorder
    const Py_ssize_t[::1] height,         # in: (n,) rows below each node's own block
    const Py_ssize_t[::1] width,          # in: (n,) columns of each node
    const double[::1] relaxation,         # in: (4,) shares for 4, 16, 48, more columns
    Py_ssize_t[::1] start,                # out: (n + 1,) first node of each supernode
    double[::1] zeros,                    # scratch: (n,)
):
    """Neighbouring columns with (nearly) the same rows; returns how many supernodes.

    A supernode is merged with its last child while few zeros would be stored (Ashcraft
    and Grimes 1989): at most the shares in ``relaxation``.
    """
    cdef Py_ssize_t n = parent.shape[0], j, count = 0, own, below, columns, rows
    cdef double added, stored, share
    with nogil:
        for j in range(n):
            start[count] = j
            zeros[count] = 0.0
            count += 1
            # merge backwards with the supernode that ends just before, if its parent is j's
            own, rows = width[j], height[j]
            while count > 1:
                below = start[count - 1] - 1       # last node of the supernode before
                if parent[below] < start[count - 1] or parent[below] > j:
                    break
                columns = _columns(width, start[count - 2], start[count - 1])
                added = columns * <double> (own + rows - height[below])
                added += zeros[count - 1] + zeros[count - 2]
                columns += own
                stored = columns * (0.5 * columns + rows)
                share = relaxation[0 if columns <= 4 else 1 if columns <= 16 else
                                   2 if columns <= 48 else 3]
                if added > share * stored:
                    break
                count -= 1
                zeros[count - 1] = added
                own = columns
    return count


cdef inline Py_ssize_t _columns(
    const Py_ssize_t[::1] width, Py_ssize_t first, Py_ssize_t last,
) noexcept nogil:
    cdef Py_ssize_t i, total = 0
    for i in range(first, last):
        total += width[i]
    return total


def widen_rows(
    const Py_ssize_t[::1] pointers,       # in: (n + 1,) row lists below the diagonal ...
    const Py_ssize_t[::1] rows,           # in: (nnz,) ... by column
    const Py_ssize_t[::1] last,           # in: (n,) last node of each node's supernode
    const Py_ssize_t[::1] wide_pointers,  # in: (n + 1,) the same for what comes out
    Py_ssize_t[::1] wide,                 # out: (entries,)
):
    """Row lists when all nodes of a supernode share those of its last one."""
    cdef Py_ssize_t n = last.shape[0], j, i, s, at = 0
    with nogil:
        for j in range(n):
            for i in range(j + 1, last[j] + 1):
                wide[at] = i
                at += 1
            for s in range(pointers[last[j]], pointers[last[j] + 1]):
                wide[at] = rows[s]
                at += 1
