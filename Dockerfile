# Images of Embly:
#
#   docker build --target dev -t embly .      what builds and serves a project:
#                                             docker run -it -v "$PWD":/project -p 8082:8082 embly dev
#   docker build --target runtime -t embly-runtime .
#                                             what serves a bundle, and nothing else
#   docker build -t board .                   the board of app/: docker-compose.yml runs it
ARG RUST=docker.io/library/rust:1.95-bookworm
ARG DEBIAN=docker.io/library/debian:bookworm-slim

FROM ${RUST} AS build
WORKDIR /embly
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY protos protos
COPY embly-sdk embly-sdk
COPY embly-wrapper embly-wrapper
COPY xtask xtask
COPY embly embly
RUN cargo xtask dist /out

# What builds functions as well: with Rust, the wasm target, and a linker for build scripts.
FROM ${RUST} AS dev
COPY --from=build /out/embly /usr/local/bin/
ENV XDG_CACHE_HOME=/var/cache/embly XDG_RUNTIME_DIR=/run/embly EMBLY_BIND=0.0.0.0
RUN embly toolchain install && mkdir -p /project /run/embly && chmod 1777 /run/embly
WORKDIR /project
EXPOSE 8082
ENTRYPOINT ["embly"]
CMD ["dev"]

FROM dev AS bundle
COPY embly-sdk /src/embly-sdk
COPY app /src/app
RUN embly bundle /src/app -o /app.embly

# What serves, as a user without rights. /data is what is kept; the native code that is made of a
# bundle is kept there too, so that the next start takes no time.
FROM ${DEBIAN} AS runtime
RUN install -d -o 65532 -g 65532 -m 700 /data
COPY --from=build /out/embly /usr/local/bin/
# Sockets: engines differ in whose a tmpfs elsewhere is.
ENV XDG_CACHE_HOME=/data/cache XDG_RUNTIME_DIR=/tmp EMBLY_BIND=0.0.0.0
USER 65532:65532
VOLUME /data
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["embly", "ready"]
ENTRYPOINT ["embly"]
CMD ["run", "/app.embly", "--state", "/data/state"]

FROM runtime AS app
COPY --from=bundle /app.embly /app.embly
EXPOSE 8082 8083
CMD ["run", "/app.embly", "--state", "/data/state", "--admin-listen", "0.0.0.0:9090"]
