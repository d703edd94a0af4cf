#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fetches the systems to compare with into build/peers: DuckDB's and ClickHouse's libraries.
set -eu
folder=build/peers
duckdb=@duckdb/node-api@1.5.6-r.1
chdb=chdb@3.4.0
[ -n "$(find $folder -name libduckdb.so 2>/dev/null)" ] && [ -n "$(find $folder -name libchdb.so 2>/dev/null)" ] && exit 0
mkdir -p $folder
npm install --silent --no-audit --no-fund --prefix $folder $duckdb $chdb >/dev/null
