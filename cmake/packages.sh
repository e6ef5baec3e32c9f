# shellcheck shell=bash
# Sourced by examples/run and tests/run: require_packages installs Debian or Ubuntu packages that are missing.

# require_packages PACKAGE...: does nothing when all are there, so no rights and no network are needed then.
require_packages() {
  local missing=() package
  if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "Not Debian or Ubuntu: make sure that the equivalents of these packages are installed: $*" >&2
    return 0
  fi
  for package in "$@"; do
    # A tool that was installed by other means is as good as its package.
    case "$package" in
      g++ | cmake | clang) command -v "$package" >/dev/null 2>&1 && continue ;;
      ninja-build) command -v ninja >/dev/null 2>&1 && continue ;;
    esac
    if [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)" != installed ]; then
      missing+=("$package")
    fi
  done
  if [ "${#missing[@]}" -eq 0 ]; then return 0; fi

  local install=(apt-get install -y --no-install-recommends "${missing[@]}")
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
      echo "Missing packages, and neither root nor sudo to install them. As root, run:  ${install[*]}" >&2
      return 1
    fi
    as_root=(sudo)
  fi
  echo "Installing: ${missing[*]}"
  # A machine that never updated its package lists knows no package, so the first attempt may fail.
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "${install[@]}" </dev/null >/dev/null 2>&1; then
    "${as_root[@]}" apt-get update </dev/null || true
    if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "${install[@]}" </dev/null; then
      echo "The packages could not be installed. By hand:  ${install[*]}" >&2
      return 1
    fi
  fi
}
