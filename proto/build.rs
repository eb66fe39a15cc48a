//! Compiles the protos with protox: no system protoc is needed.

use std::{error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 4] = [
    "llmbalancer/v1/resource.proto",
    "llmbalancer/v1/manage.proto",
    "llmbalancer/v1/follow.proto",
    "llmbalancer/v1/peer.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=llmbalancer");
    let set = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    fs::write(out.join("llmbalancer.bin"), set.encode_to_vec())?;
    tonic_prost_build::configure().skip_protoc_run().compile_fds(set)?;
    Ok(())
}
