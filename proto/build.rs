//! Compiles the `.proto` files. `protox` does it in Rust, so that no protoc has to be installed.

use prost::Message;
use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

/// What is stored, which nobody is asked for.
const RECORDS: &str = "undoubt/v1/record.proto";

const FILES: [&str; 5] = [
    "undoubt/v1/session.proto",
    "undoubt/v1/transaction.proto",
    "undoubt/v1/work.proto",
    "undoubt/v1/events.proto",
    RECORDS,
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let mut public = descriptors.clone();
    public.file.retain(|file| file.name() != RECORDS);
    fs::write(out.join("public_descriptors.bin"), public.encode_to_vec())?;
    let mut generated = tonic_prost_build::configure().bytes(".").include_file("generated.rs");
    // The codec knows messages by their names.
    generated = generated.codec_path("crate::codec::Codec");
    let mut names = tonic_prost_build::Config::new();
    names.enable_type_names();
    generated.compile_fds_with_config(descriptors, names)?;
    Ok(())
}
