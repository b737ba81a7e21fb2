FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY assets assets
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/crelay-payments /usr/local/bin/

FROM debian:bookworm-slim
# The TLS library reads the system's certificates: without them every request to Twilio and OpenAI fails.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/local/bin/crelay-payments /usr/local/bin/crelay-payments
# The assets are built into the binary. To lead calls by others, put them into /srv/assets.
WORKDIR /srv
USER 65532:65532
# A proxy knows one port: if it is busy, that is an error.
ENV PORT_FALLBACK=false
EXPOSE 3001
# Not /ready: a container that drains is well, and must not be replaced before its calls have ended.
HEALTHCHECK --interval=15s --timeout=6s --start-period=5s \
    CMD ["/usr/local/bin/crelay-payments", "health"]
# Stop it with more time than DRAIN_SECONDS and 40 seconds: docker stop -t 340.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/crelay-payments"]
