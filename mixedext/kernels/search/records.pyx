"""The log of a search: one row an evaluation."""

from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

import numpy as np

# How the rows of the log came about.
METHODS = ("newton", "l-bfgs-b", "rectified", "given", "closed form", "look")


cdef class Records:
    """Rows of number of the method, deviance, step, expected fall, theta."""

    def __dealloc__(self):
        free(self.log)

    cdef void add(
        self, int method, double deviance, double step, double fall, const double* theta
    ) noexcept nogil:
        cdef Py_ssize_t width = self.n_theta + 4, i
        cdef double* row
        if not self.keep_log:
            return
        if self.log_rows == self.log_room:
            i = 2 * self.log_room + 16
            row = <double*>realloc(self.log, i * width * sizeof(double))
            if row == NULL:  # a log is not worth a failure
                self.keep_log = False
                return
            self.log, self.log_room = row, i
        row = self.log + self.log_rows * width
        row[0], row[1], row[2], row[3] = method, deviance, step, fall
        for i in range(self.n_theta):
            row[4 + i] = theta[i]
        self.log_rows += 1

    def note(self, method, double deviance, double step, double fall, theta):
        """Add a row to the log."""
        cdef const double[::1] point = np.ascontiguousarray(theta, float)
        self.add(
            METHODS.index(method), deviance, step, fall, &point[0] if len(point) else NULL
        )

    def records(self):
        """The log: number of the method, deviance, step, expected fall, theta by row."""
        cdef Py_ssize_t width = self.n_theta + 4
        out = np.empty((self.log_rows, width))
        cdef double[:, ::1] view = out
        if self.log_rows:
            memcpy(&view[0, 0], self.log, self.log_rows * width * sizeof(double))
        return out
