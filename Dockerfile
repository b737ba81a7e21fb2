FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY assets assets
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --no-default-features && cp target/release/crelay-payments /usr/local/bin/

FROM debian:bookworm-slim
# The TLS library reads the system's certificates: without them every request to Twilio and OpenAI fails.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/local/bin/crelay-payments /usr/local/bin/crelay-payments
# The assets are built into the binary. Files in /srv/assets override them.
WORKDIR /srv
# The ledger is on a volume: payments outlive the container.
ENV DATABASE_URL=sqlite:///data/crelay-payments.db
RUN mkdir --mode=700 /data && chown 65532:65532 /data
VOLUME /data
# A proxy knows one port only, so a busy port is an error.
ENV PORT_FALLBACK=false
EXPOSE 3001
# Not /ready and not /health: a draining container must not be replaced before its calls have ended, and one that cannot write its
# ledger buffers records in memory.
HEALTHCHECK --interval=15s --timeout=6s --start-period=5s \
    CMD ["/usr/local/bin/crelay-payments", "health", "--alive"]
# Stop it with more time than DRAIN_SECONDS and 40 seconds: docker stop -t 340.
STOPSIGNAL SIGTERM
# A new volume may belong to root (Fly's do): its owner is changed, and then nothing runs as root.
ENTRYPOINT ["/bin/sh", "-c", "if [ \"$(id -u)\" = 0 ]; then chown 65532:65532 /data && exec setpriv --reuid=65532 --regid=65532 --clear-groups --no-new-privs \"$0\" \"$@\"; fi; exec \"$0\" \"$@\"", "/usr/local/bin/crelay-payments"]
