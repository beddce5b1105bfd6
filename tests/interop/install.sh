#!/usr/bin/env bash
# Installs the real peers of the interop tests with Maven and npm. Quick when they are there already.
set -euo pipefail
cd "$(dirname "$0")"
for tool in java mvn node npm; do
  command -v "$tool" >/dev/null || { echo "install.sh: $tool is missing (Debian: apt-get install default-jdk maven nodejs npm)" >&2; exit 1; }
done
for peer in dubbo26 dubbo27 dubbo31 dubbo3; do
  if [ ! -d "$peer/target/lib" ] || [ -n "$(find java "$peer/pom.xml" -newer "$peer/target/lib" -print -quit)" ]; then
    rm -rf "$peer/target" && mkdir -p "$peer/target"
    cp -r java/src "$peer/target/src"
    if [ "$peer" = dubbo26 ]; then # the same packages under their former name
      cp java/alibaba/demo/* "$peer/target/src/demo"
      sed -i 's/org\.apache\.dubbo/com.alibaba.dubbo/' "$peer"/target/src/demo/*
    else
      cp java/apache/demo/* "$peer/target/src/demo"
    fi
    (cd "$peer" && mvn -q -B package -DskipTests && touch target/lib)
  fi
done
for peer in sofarpc motan; do
  if [ ! -d "$peer/target/lib" ] || [ -n "$(find "$peer/src" "$peer/pom.xml" -newer "$peer/target/lib" -print -quit)" ]; then
    (cd "$peer" && mvn -q -B clean package -DskipTests && touch target/lib)
  fi
done
if [ ! -d node/node_modules/dubbo-remoting ]; then
  (cd node && npm install --no-audit --no-fund --loglevel=error)
fi
