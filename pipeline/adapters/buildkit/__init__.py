"""The builder: images built by BuildKit in the Docker Engine."""
