"""The words of openbell: values that every room shares.  No input or output, no framework."""
