//! Compiles the protos without `protoc`, and keeps their descriptors for reflection.

use std::path::PathBuf;

use prost::Message as _;

const PROTOS: [&str; 2] = ["sortie/v1/node.proto", "sortie/v1/task.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let descriptors = protox::compile(PROTOS, [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().btree_map(".").disable_comments(["."]).compile_fds(descriptors)?;
    Ok(())
}
