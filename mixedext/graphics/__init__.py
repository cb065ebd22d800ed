"""Drawings of what the questions have computed; the only importer of matplotlib."""
