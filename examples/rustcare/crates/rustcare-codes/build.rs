//! Turns `data/icd_codes.csv` into a table that is sorted by code, so that a look-up needs no hashing at start.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

const SOURCE: &str = "data/icd_codes.csv";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SOURCE}");
    let mut rows = csv::Reader::from_path(SOURCE)?
        .into_deserialize::<(String, String)>()
        .collect::<Result<Vec<_>, _>>()?;
    rows.sort();
    if let Some(twice) = rows.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("{SOURCE}: code {} is there twice", twice[0].0).into());
    }
    let mut table = String::from("&[\n");
    for (code, title) in &rows {
        writeln!(table, "    Code {{ code: {code:?}, title: {title:?} }},")?;
    }
    table.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?);
    fs::write(out.join("codes.rs"), table)?;
    Ok(())
}
