# Both images are named by digest, so that a rebuild starts from the bytes that were reviewed. To renew one:
# docker buildx imagetools inspect rust:1-slim-bookworm
FROM rust:1.98.0-slim-bookworm@sha256:1469a27c125cb5a3aebfa4f4e4665d935b02fb72cc093b2c974b3d740e43f157 AS build
RUN cargo install --locked --version 0.5.9 cargo-cyclonedx
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY src src
COPY assets assets
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --no-default-features && cp target/release/crelay-payments /usr/local/bin/
# The software bill of materials (CycloneDX) of what is shipped.
RUN cargo cyclonedx --no-default-features --format json --spec-version 1.5 --override-filename crelay-payments.cdx
RUN mkdir --parents /volume/data /volume/srv

# glibc, libgcc and the root certificates without which no request to Twilio or OpenAI succeeds. No shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot@sha256:9dac0a79194e45a7da0158a9c6da57b217585af0786db3845d1f0ec1a0dd182f
COPY --from=build /usr/local/bin/crelay-payments /usr/local/bin/crelay-payments
COPY --from=build /src/crelay-payments.cdx.json /usr/share/doc/crelay-payments/sbom.cdx.json
# The assets are built into the binary. Files in /srv/assets override them.
COPY --from=build --chown=65532:65532 --chmod=0755 /volume/srv /srv
WORKDIR /srv
# The ledger is on a volume: payments outlive the container. A new Docker volume takes its owner and mode from this directory, and
# Fly mounts a volume for the user of the image, so nothing has to run as root. The rest of the file system may be read-only.
COPY --from=build --chown=65532:65532 --chmod=0700 /volume/data /data
VOLUME /data
ENV DATABASE_URL=sqlite:///data/crelay-payments.db
# `erase` compacts the ledger, for which SQLite writes a temporary file.
ENV SQLITE_TMPDIR=/data
USER 65532:65532
# A proxy knows one port only, so a busy port is an error.
ENV PORT_FALLBACK=false
EXPOSE 3001
# Not /ready and not /health: a draining container must not be replaced before its calls have ended, and one that cannot write its
# ledger buffers records in memory.
HEALTHCHECK --interval=15s --timeout=6s --start-period=5s \
    CMD ["/usr/local/bin/crelay-payments", "health", "--alive"]
# Stop it with more time than DRAIN_SECONDS and 5 seconds: docker stop -t 310.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/crelay-payments"]
