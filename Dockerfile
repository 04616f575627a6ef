# One binary in a small image: docker build -t dohle . && docker run -p 9092:9092 -v dohle:/data dohle
FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --package dohle --bin dohle

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /data --create-home dohle
COPY --from=build /build/target/release/dohle /usr/local/bin/dohle
COPY config/docker.toml /etc/dohle.toml
USER dohle
WORKDIR /data
VOLUME /data
EXPOSE 9092 9404
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s CMD ["dohle", "--config", "/etc/dohle.toml", "health"]
ENTRYPOINT ["dohle", "--config", "/etc/dohle.toml"]
