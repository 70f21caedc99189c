#!/bin/sh
# A package that is installed starts no service: the scripts here do.
exit 101
