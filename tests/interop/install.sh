#!/usr/bin/env bash
# Installs the real peers of the interop tests with Maven and npm. Quick when they are there already.
set -euo pipefail
cd "$(dirname "$0")"
for tool in java mvn node npm; do
  command -v "$tool" >/dev/null || { echo "install.sh: $tool is missing (Debian: apt-get install default-jdk maven nodejs npm)" >&2; exit 1; }
done
for peer in dubbo27 dubbo3; do
  if [ ! -d "$peer/target/lib" ] || [ -n "$(find java "$peer/pom.xml" -newer "$peer/target/lib" -print -quit)" ]; then
    (cd "$peer" && mvn -q -B clean package -DskipTests && touch target/lib)
  fi
done
if [ ! -d node/node_modules/dubbo-remoting ]; then
  (cd node && npm install --no-audit --no-fund --loglevel=error)
fi
