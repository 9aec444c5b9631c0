"""Operators agree: one script of official mqadmin commands, on the official cluster and on ours."""
