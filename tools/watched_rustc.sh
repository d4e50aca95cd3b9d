#!/bin/sh
# rustc for libFuzzer: `watched_rustc.sh RUSTC ARGUMENTS`. Counts edges and compared values.
exec "$@" -C passes=sancov-module -C codegen-units=1 \
  -C llvm-args=-sanitizer-coverage-level=4 -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
  -C llvm-args=-sanitizer-coverage-pc-table -C llvm-args=-sanitizer-coverage-trace-compares
