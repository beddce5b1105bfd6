#!/usr/bin/env bash
# Installs the real peers of the interop tests with Maven, npm, pip and Go. Quick when they are there already.
set -euo pipefail
cd "$(dirname "$0")"
for tool in java mvn node npm go thrift; do
  command -v "$tool" >/dev/null || {
    echo "install.sh: $tool is missing (Debian: apt-get install default-jdk maven nodejs npm golang-go thrift-compiler)" >&2
    exit 1
  }
done
stale() { # the file that is made last, and what all of it is made of
  local made=$1
  shift
  [ ! -e "$made" ] || [ -n "$(find "$@" \( -name target -o -name node_modules -o -name 'gen-*' \) -prune -o -type f -newer "$made" -print -quit)" ]
}
in_java=() # those to be built
for peer in dubbo26 dubbo27 dubbo31 dubbo3; do
  if stale "$peer/target/lib" java "$peer/pom.xml"; then
    rm -rf "$peer/target" && mkdir -p "$peer/target"
    cp -r java/src "$peer/target/src"
    if [ "$peer" = dubbo26 ]; then # the same packages under their former name
      cp java/alibaba/demo/* "$peer/target/src/demo"
      sed -i 's/org\.apache\.dubbo/com.alibaba.dubbo/' "$peer"/target/src/demo/*
    else
      cp java/apache/demo/* "$peer/target/src/demo"
    fi
    in_java+=("$peer")
  fi
done
for peer in sofarpc motan brpc brpcjava tars; do
  if stale "$peer/target/lib" "$peer/src" "$peer/pom.xml" cases; then
    rm -rf "$peer/target"
    in_java+=("$peer")
  fi
done
# Dubbo's Thrift reads errors with the libthrift of its time: what today's compiler makes is cut down to what that has.
if stale dubbothrift/target/lib dubbothrift/src dubbothrift/pom.xml thrift/demo.thrift cases; then
  (
    cd dubbothrift
    rm -rf target && mkdir -p target/gen-java
    thrift --gen java:generated_annotations=suppress -out target/gen-java ../thrift/demo.thrift
    sed -i -e '/public static class AsyncProcessor/,/^  }$/d' -e 's/@org.apache.thrift.annotation.Nullable//' \
      -e 's/@Override//' -e 's/org.apache.thrift.TBaseHelper.hashCode(/java.util.Objects.hash(/' target/gen-java/demo/gen/*.java
    sed 's/org\.apache\.dubbo/com.alibaba.dubbo/' ../java/src/demo/Loopback.java >target/gen-java/demo/Loopback.java
  )
  in_java+=(dubbothrift)
fi
# Apache Thrift in four languages, and thriftpy2: the code for them is made from thrift/demo.thrift.
in_thrift=
if stale thrift/target/done thrift cases; then
  (
    cd thrift
    rm -rf target gen-java node/gen-nodejs go/gen-go
    mkdir -p target/gen-py gen-java node/gen-nodejs go/gen-go
    thrift --gen py -out target/gen-py demo.thrift
    thrift --gen java:generated_annotations=suppress -out gen-java demo.thrift
    thrift --gen js:node -out node/gen-nodejs demo.thrift
    thrift --gen go:package_prefix=interop/gen-go/ -out go/gen-go demo.thrift
    rm -rf go/gen-go/demo/*-remote
  )
  in_thrift=all
  in_java+=(thrift)
fi
if [ ${#in_java[@]} -gt 0 ]; then
  mvn -q -B package -DskipTests --also-make --projects "$(IFS=, && echo "${in_java[*]}")"
  for peer in "${in_java[@]}"; do touch "$peer/target/lib"; done
fi
if [ -n "$in_thrift" ]; then
  (
    cd thrift
    python3 -m venv target/venv
    target/venv/bin/pip install -q --disable-pip-version-check thrift==0.22.0 thriftpy2==0.7.1
    (cd node && npm install --no-audit --no-fund --loglevel=error)
    (cd go && go build -o ../target/peer .)
    touch target/done
  )
fi
if [ ! -d node/node_modules/dubbo-remoting ]; then
  (cd node && npm install --no-audit --no-fund --loglevel=error)
fi
if [ ! -d tars/node/node_modules/@tars/rpc ]; then
  (cd tars/node && npm install --no-audit --no-fund --loglevel=error)
fi
# Servers of Debian's, and the clients in Python that most people use.
for tool in memcached mosquitto nats-server redis-server slapd; do
  PATH=$PATH:/usr/sbin command -v "$tool" >/dev/null || {
    echo "install.sh: $tool is missing (Debian: apt-get install memcached mosquitto nats-server redis-server slapd)" >&2
    exit 1
  }
done
if [ ! -e servers/target/done ] || [ servers/requirements.txt -nt servers/target/done ]; then
  rm -rf servers/target
  python3 -m venv servers/target/venv
  servers/target/venv/bin/pip install -q --disable-pip-version-check -r servers/requirements.txt
  touch servers/target/done
fi
