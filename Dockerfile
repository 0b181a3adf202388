# syntax=docker/dockerfile:1

FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY . .
# The caches are not part of the image, so the binary is copied out of them. Its size is limited.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --locked --release --features jemalloc \
    && install target/release/shortline /usr/local/bin/ \
    && test "$(stat --format %s /usr/local/bin/shortline)" -lt 28000000

FROM debian:bookworm-slim
# The certificates that webhooks trust.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/local/bin/shortline /usr/local/bin/
# A number, so that Kubernetes can check that it is not root. The service writes no files: run it
# with `--read-only`.
USER 10001:10001
ENV SHORTLINE_LISTEN=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=6s --start-period=60s CMD ["shortline", "healthcheck"]
ENTRYPOINT ["shortline"]
CMD ["serve"]
