# Two images: redis (Redis with the module) and api (sponsor-api). A third,
# tryout, has the stand-ins of the profile of that name in compose.yaml.
# make image builds them. It asks nothing of the builder that docker of 2022
# or buildah would lack, hence no cache mounts.

# Where your registry has other names, or you want a digest: --build-arg.
ARG GOLANG=golang:1.26.8-bookworm
ARG DEBIAN=debian:bookworm-slim

FROM ${GOLANG} AS source
WORKDIR /src
# Without a value Go's own default counts.
ARG GOPROXY
ENV CGO_ENABLED=0 GOFLAGS="-mod=readonly -buildvcs=false -trimpath" GOTOOLCHAIN=local
COPY go.mod go.sum ./
RUN go mod download
COPY module module

# ---------------------------------------------------------------------------
FROM source AS module
ARG VERSION=devel
# The C library it is linked against is that of the image it runs in. Redis
# wants the execute bit, which go build does not set.
RUN CGO_ENABLED=1 go build -buildmode=c-shared -ldflags "-s -w -X main.version=${VERSION}" -o /out/sponsor.so ./module \
 && chmod 0755 /out/sponsor.so

FROM ${DEBIAN} AS redis
# Redis 7.0.15 with Debian's security fixes, and no other: one exact version is
# gone from Debian's servers on the day the next fix comes.
ARG REDIS=5:7.0.15-1~deb12u*
# The user is a number that no package takes. Debian's own, which the package
# makes, may have another number tomorrow, and then owns nothing in /data.
RUN groupadd --gid 10001 sponsor \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin sponsor \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "redis-server=${REDIS}" "redis-tools=${REDIS}" \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/* /var/lib/redis /etc/redis \
 && install -d -m 0755 /etc/redis/conf.d \
 && install -d -o sponsor -g sponsor -m 0700 /data /run/secrets \
 && ln -s sponsor-cli /usr/local/bin/sponsorctl
# The authorities that may sign the remote's certificate.
COPY --from=source /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY scripts/container/redis.conf /etc/redis/
COPY scripts/container/start-redis scripts/container/redis-health scripts/container/sponsor-cli /usr/local/bin/
COPY scripts/sponsorctl /usr/local/lib/redis/
COPY LICENSE /usr/share/licenses/redis-sponsor/
COPY --from=module /out/sponsor.so /usr/local/lib/redis/
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 6379
STOPSIGNAL SIGTERM
# A big server may read its file for a long time before it answers.
HEALTHCHECK --interval=5s --timeout=3s --start-period=5m --retries=3 CMD ["redis-health"]
ENTRYPOINT ["start-redis"]
ARG VERSION=devel
LABEL org.opencontainers.image.title="redis-sponsor: Redis with the module" \
      org.opencontainers.image.description="Redis 7.0 that keeps the sponsors' keys on Redis Enterprise too" \
      org.opencontainers.image.source="https://github.com/applied-knowledge-systems/redis-sponsor" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"

# ---------------------------------------------------------------------------
FROM source AS programs
ARG VERSION=devel
COPY api api
RUN go build -ldflags "-s -w -X main.version=${VERSION}" -o /out/sponsor-api ./api

# Nothing but the program: no shell, no other user to become.
FROM scratch AS api
COPY --from=source /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY LICENSE /usr/share/licenses/redis-sponsor/
COPY --from=programs /out/sponsor-api /sponsor-api
USER 10002:10002
# Within a container, 127.0.0.1 is reached by nobody else.
ENV LISTEN_ADDR=:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["/sponsor-api", "--health"]
ENTRYPOINT ["/sponsor-api"]
ARG VERSION=devel
LABEL org.opencontainers.image.title="redis-sponsor: the API" \
      org.opencontainers.image.description="Signs people in with GitHub, and remembers what sponsors exclude" \
      org.opencontainers.image.source="https://github.com/applied-knowledge-systems/redis-sponsor" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"

# ---------------------------------------------------------------------------
FROM programs AS standins
COPY scripts/playground scripts/playground
RUN go build -o /out/ ./api/internal/githubtest/cmd/githubtest ./scripts/playground

# For a try-out on one machine only: it lets anybody in as anybody.
FROM redis AS tryout
COPY --from=standins /out/githubtest /out/playground /usr/local/bin/
HEALTHCHECK NONE
ENTRYPOINT []
