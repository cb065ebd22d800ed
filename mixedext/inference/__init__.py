"""The questions that are asked of a fit, a folder each.

Functions take results, or the record ``Fitted`` itself, first.  Of the files of a folder
those with the numbers know no model and no label, those with the tables know both.
"""
