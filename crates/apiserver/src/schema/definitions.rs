//! The JSON schemas of the types in the [table of resources](crate::kinds), as `k8s-openapi` derives them for Kubernetes v1.36.
//!
//! They are derived where the file beside this one is made, and unpacked where the program runs: what derives them is a
//! function a type, more code than all handlers together, and would run once and say the same each time. A test holds the
//! file to what is derived.

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::bufread::GzDecoder;
use serde_json::value::RawValue;

/// All of them as JSON, packed.
static PACKED: &[u8] = include_bytes!("definitions.json.gz");

/// All of them, by name; each as text, because hardly any is looked at again, and as values they take several times as much.
pub(super) fn all() -> BTreeMap<String, Box<RawValue>> {
    let length = PACKED.last_chunk().map_or(0, |it| u32::from_le_bytes(*it)); // so a packed file ends
    let mut text = String::with_capacity(usize::try_from(length).unwrap_or_default());
    GzDecoder::new(PACKED).read_to_string(&mut text).expect("a test has unpacked these very bytes");
    serde_json::from_str(&text).expect("a test has read this very text")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use k8s_openapi::schemars::SchemaGenerator;
    use k8s_openapi::schemars::generate::SchemaSettings;
    use serde_json::{Map, Value};

    use super::*;
    use crate::kinds::TABLE;

    fn derived() -> Map<String, Value> {
        let mut generator = SchemaGenerator::new(SchemaSettings::openapi3());
        for resource in TABLE {
            let bodies = resource.subresources.iter().filter_map(|it| it.body.map(|body| body.type_of));
            for type_of in resource.type_of.into_iter().chain(bodies) {
                (type_of.schema)(&mut generator);
            }
        }
        generator.take_definitions(false)
    }

    fn packed(definitions: &Map<String, Value>) -> Vec<u8> {
        let mut file = GzEncoder::new(Vec::new(), Compression::best());
        file.write_all(&serde_json::to_vec(definitions).unwrap()).unwrap();
        file.finish().unwrap()
    }

    #[test]
    fn the_file_says_what_is_derived() {
        let derived = derived();
        if std::env::var_os("SUPPLE_GENERATE").is_some() {
            let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/schema/definitions.json.gz");
            std::fs::write(file, packed(&derived)).unwrap();
            return; // what was compiled is the file before
        }
        let again =
            "make it again with `SUPPLE_GENERATE=1 cargo test -p supple-apiserver --lib the_file_says_what_is_derived`";
        let all = all();
        assert_eq!(all.keys().collect::<BTreeSet<_>>(), derived.keys().collect::<BTreeSet<_>>(), "{again}");
        for (name, schema) in &derived {
            assert_eq!(all[name].get(), schema.to_string(), "{name}: {again}");
        }
    }
}
