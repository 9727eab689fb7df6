# The image of `supple`, as the chart runs it: one program on a base without a shell, not as root.
#
#   docker build -t registry.example/supple:0.1.0 .
#   docker buildx build --platform linux/amd64,linux/arm64 -t registry.example/supple:0.1.0 --push .
#
# The program is compiled on the machine that builds, for the platform that is asked for: nothing is emulated. It needs
# network for the two base images and crates.io, and about 4 GB of memory.
#
#   --build-arg BUILDER=…    an image with rustup's Rust of the version in Cargo.toml, on Debian, with a C compiler
#   --build-arg BASE=…       an image with glibc, not older than the builder's, and libgcc
#   --build-arg PROFILE=dev  a debug build, sooner ready and slower
ARG BUILDER=rust:1.95-bookworm
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

FROM --platform=$BUILDPLATFORM ${BUILDER} AS build
ARG TARGETARCH
ARG BUILDARCH
ARG PROFILE=dist
WORKDIR /src

# A compiler and linker for the other platform, where it is another; C is compiled too (ring, mimalloc).
RUN set -eu; \
    case "${TARGETARCH:-$(dpkg --print-architecture)}" in \
      amd64) target=x86_64-unknown-linux-gnu; gnu=x86-64-linux-gnu ;; \
      arm64) target=aarch64-unknown-linux-gnu; gnu=aarch64-linux-gnu ;; \
      *) echo "no build for ${TARGETARCH}: linux/amd64 and linux/arm64 are supported" >&2; exit 1 ;; \
    esac; \
    echo "$target" > /target; \
    if [ "${TARGETARCH:-}" != "${BUILDARCH:-}" ]; then \
      apt-get update -qq; \
      apt-get install -qq -y --no-install-recommends "gcc-$gnu" "libc6-dev-${TARGETARCH}-cross"; \
      rm -rf /var/lib/apt/lists/*; \
      rustup target add "$target"; \
    fi
ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc

COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    set -eu; \
    cargo build --locked --profile "$PROFILE" --target "$(cat /target)" --package supple --bin supple; \
    if [ "$PROFILE" = dev ]; then folder=debug; else folder=$PROFILE; fi; \
    cp "target/$(cat /target)/$folder/supple" /supple

FROM ${BASE}
LABEL org.opencontainers.image.title=supple \
      org.opencontainers.image.description="Keeps the CPU and memory of running pods fitted to what they use, without restarting them." \
      org.opencontainers.image.source=https://github.com/supple-dev/supple \
      org.opencontainers.image.licenses=Apache-2.0
COPY LICENSE /LICENSE
COPY --from=build /supple /usr/local/bin/supple
# By number, so that a kubelet can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/supple"]
CMD ["controller"]
