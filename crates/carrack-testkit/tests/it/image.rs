//! Reading images and comparing them: that each kind of difference is seen, and nothing else is taken for one.

use std::io::Write;

use carrack_testkit::{Difference, Image, compare};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

type Layer = Builder<Vec<u8>>;

fn layer(fill: impl FnOnce(&mut Layer)) -> Vec<u8> {
    let mut layer = Builder::new(Vec::new());
    fill(&mut layer);
    layer.into_inner().unwrap()
}

fn header(kind: EntryType, mode: u32, owner: (u64, u64)) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner.0);
    header.set_gid(owner.1);
    header
}

fn put(layer: &mut Layer, mut header: Header, path: &str, content: &str) {
    header.set_size(content.len() as u64);
    layer.append_data(&mut header, path, content.as_bytes()).unwrap();
}

fn file(layer: &mut Layer, path: &str, content: &str) {
    put(layer, header(EntryType::Regular, 0o644, (0, 0)), path, content);
}

fn folder(layer: &mut Layer, path: &str) {
    put(layer, header(EntryType::Directory, 0o755, (0, 0)), path, "");
}

fn link(layer: &mut Layer, kind: EntryType, path: &str, target: &str) {
    layer.append_link(&mut header(kind, 0o777, (0, 0)), path, target).unwrap();
}

fn attribute(layer: &mut Layer, name: &str, value: &[u8]) {
    let key = format!("SCHILY.xattr.{name}");
    layer.append_pax_extensions([(key.as_str(), value)]).unwrap();
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What `docker save` would write.
fn saved(layers: &[Vec<u8>], configuration: Value) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", digest(layer))).collect();
    let mut configuration = configuration;
    configuration["rootfs"] = json!({ "type": "layers", "diff_ids": ids });
    let mut archive = Builder::new(Vec::new());
    let names: Vec<String> = layers.iter().map(|layer| format!("blobs/sha256/{}", digest(layer))).collect();
    for (name, layer) in names.iter().zip(layers) {
        let mut header = header(EntryType::Regular, 0o644, (0, 0));
        header.set_size(layer.len() as u64);
        archive.append_data(&mut header, name, &layer[..]).unwrap();
    }
    file(&mut archive, "config.json", &configuration.to_string());
    let manifest = json!([{ "Config": "config.json", "RepoTags": ["x:latest"], "Layers": names }]);
    file(&mut archive, "manifest.json", &manifest.to_string());
    archive.into_inner().unwrap()
}

/// The same as an OCI layout with compressed layers, and an attestation beside the image.
fn layout(layers: &[Vec<u8>], configuration: Value) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", digest(layer))).collect();
    let mut configuration = configuration;
    configuration["rootfs"] = json!({ "type": "layers", "diff_ids": ids });
    let mut archive = Builder::new(Vec::new());
    let mut blob = |bytes: &[u8]| {
        let mut header = header(EntryType::Regular, 0o644, (0, 0));
        header.set_size(bytes.len() as u64);
        let digest = digest(bytes);
        archive.append_data(&mut header, format!("blobs/sha256/{digest}"), bytes).unwrap();
        json!({ "digest": format!("sha256:{digest}"), "size": bytes.len() })
    };
    let descriptors: Vec<Value> = layers
        .iter()
        .map(|layer| {
            // Two members, as parallel writers make them.
            let mut bytes = Vec::new();
            for half in layer.chunks(layer.len() / 2 + 1) {
                let mut encoder = GzEncoder::new(&mut bytes, Compression::fast());
                encoder.write_all(half).unwrap();
                encoder.finish().unwrap();
            }
            blob(&bytes)
        })
        .collect();
    let config = blob(configuration.to_string().as_bytes());
    let mut image = blob(json!({ "config": config, "layers": descriptors }).to_string().as_bytes());
    image["platform"] = json!({ "architecture": "amd64", "os": "linux" });
    let mut attestation = blob(b"{}");
    attestation["platform"] = json!({ "architecture": "unknown", "os": "unknown" });
    let index = json!({ "manifests": [attestation, image] });
    file(&mut archive, "index.json", &index.to_string());
    archive.into_inner().unwrap()
}

fn base(layer: &mut Layer) {
    folder(layer, "a/");
    file(layer, "a/one", "1");
    file(layer, "a/two", "2");
    link(layer, EntryType::Link, "a/same", "a/one");
    link(layer, EntryType::Symlink, "link", "a/one");
    attribute(layer, "security.capability", b"\x01\0\n=");
    put(layer, header(EntryType::Regular, 0o4755, (10, 3_000_000)), "tool", "x");
    let mut device = header(EntryType::Char, 0o666, (0, 0));
    device.set_device_major(1).unwrap();
    device.set_device_minor(3).unwrap();
    put(layer, device, "null", "");
    put(layer, header(EntryType::Fifo, 0o600, (0, 0)), "fifo", "");
    let long = "n".repeat(180);
    file(layer, &format!("{long}/{long}/file"), "long");
}

fn configuration() -> Value {
    json!({ "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": { "Env": ["PATH=/bin", "A=1"], "Cmd": ["sh"], "Labels": null, "OnBuild": [], "User": "" },
        "history": [{ "created": "2026-01-01T00:00:00Z", "created_by": "COPY . . # buildkit", "comment": "x" }] })
}

fn read(layers: &[Vec<u8>]) -> Image {
    Image::parse(&saved(layers, configuration()))
}

#[test]
fn the_listing_says_all_there_is() {
    let image = read(&[layer(base)]);
    let long = "n".repeat(180);
    let expected = format!(
        "/ drwxr-xr-x 0:0\n/a drwxr-xr-x 0:0\n/a/one -rw-r--r-- 0:0 1 6b86b273ff34\n\
         /a/same -rw-r--r-- 0:0 1 6b86b273ff34 = /a/one\n/a/two -rw-r--r-- 0:0 1 d4735e3a265e\n\
         /fifo prw------- 0:0\n/link lrwxrwxrwx 0:0 -> a/one\n/{long} drwxr-xr-x 0:0\n\
         /{long}/{long} drwxr-xr-x 0:0\n/{long}/{long}/file -rw-r--r-- 0:0 4 1b6453892473\n\
         /null crw-rw-rw- 0:0 1,3\n/tool -rwsr-xr-x 10:3000000 1 2d711642b726 {{security.capability=01000a3d}}\n"
    );
    let expected = expected.replace("1b6453892473", &digest(b"long")[..12]);
    assert_eq!(image.listing(), expected);
}

#[test]
fn layers_lie_over_each_other() {
    let check = |what: &str, over: &dyn Fn(&mut Layer), expected: &[&str]| {
        let lower = layer(|layer| {
            folder(layer, "d/");
            file(layer, "d/x", "1");
            file(layer, "d/y", "2");
            link(layer, EntryType::Link, "d/z", "d/x");
            file(layer, "f", "3");
        });
        let image = read(&[lower, layer(over)]);
        let lines: Vec<String> =
            image.files.iter().map(|(path, line)| format!("{path} {}", line.0)).collect();
        // Digests and bits are the other test's.
        let short: Vec<String> = lines
            .iter()
            .filter(|line| !line.starts_with("/ "))
            .map(|line| {
                let parts: Vec<&str> = line.split(' ').collect();
                let tail = parts
                    .iter()
                    .position(|part| *part == "=")
                    .map_or(String::new(), |at| parts[at..].concat());
                format!("{}{}{tail}", &parts[1][..1], parts[0])
            })
            .collect();
        assert_eq!(short, expected, "{what}");
    };
    check("nothing", &|_| {}, &["d/d", "-/d/x", "-/d/y", "-/d/z=/d/x", "-/f"]);
    check("removed file", &|l| file(l, "d/.wh.y", ""), &["d/d", "-/d/x", "-/d/z=/d/x", "-/f"]);
    check("first name of two removed", &|l| file(l, "d/.wh.x", ""), &["d/d", "-/d/y", "-/d/z", "-/f"]);
    check("one name of two replaced", &|l| file(l, "d/x", "1"), &["d/d", "-/d/x", "-/d/y", "-/d/z", "-/f"]);
    check("removed folder", &|l| file(l, ".wh.d", ""), &["-/f"]);
    let opaque = |l: &mut Layer| {
        folder(l, "d/");
        file(l, "d/new", "");
        file(l, "d/.wh..wh..opq", "");
    };
    check("opaque folder", &opaque, &["d/d", "-/d/new", "-/f"]);
    check("folder replaced by file", &|l| file(l, "d", ""), &["-/d", "-/f"]);
    check(
        "file replaced by folder",
        &|l| file(l, "f/new", ""),
        &["d/d", "-/d/x", "-/d/y", "-/d/z=/d/x", "d/f", "-/f/new"],
    );
    check(
        "link to a lower layer",
        &|l| link(l, EntryType::Link, "g", "d/y"),
        &["d/d", "-/d/x", "-/d/y", "-/d/z=/d/x", "-/f", "-/g=/d/y"],
    );
}

/// Compares the base with the base and something over it, which has to differ at these places.
#[track_caller]
fn differs(over: impl FnOnce(&mut Layer), expected: &[&str]) {
    let (first, second) = (read(&[layer(base)]), read(&[layer(base), layer(over)]));
    let differences = compare(&first, &second);
    let places: Vec<&str> = differences.iter().map(|difference| difference.place.as_str()).collect();
    assert_eq!(places, [&["rootfs.diff_ids"], expected].concat());
}

#[test]
fn each_difference_of_files_is_seen() {
    differs(|_| {}, &[]);
    differs(|l| file(l, "a/two", "2"), &[]);
    differs(|l| file(l, "a/two", "3"), &["/a/two"]);
    differs(|l| file(l, "a/two", "2 "), &["/a/two"]);
    differs(|l| file(l, "a/more", "2"), &["/a/more"]);
    differs(|l| file(l, "a/.wh.two", ""), &["/a/two"]);
    differs(|l| file(l, "a/same", "1"), &["/a/same"]);
    differs(|l| link(l, EntryType::Link, "a/two", "a/one"), &["/a/two"]);
    differs(|l| put(l, header(EntryType::Regular, 0o645, (0, 0)), "a/two", "2"), &["/a/two"]);
    differs(|l| put(l, header(EntryType::Regular, 0o644, (1, 0)), "a/two", "2"), &["/a/two"]);
    differs(|l| put(l, header(EntryType::Regular, 0o644, (0, 1)), "a/two", "2"), &["/a/two"]);
    differs(|l| put(l, header(EntryType::Directory, 0o1755, (0, 0)), "a/", ""), &["/a"]);
    differs(|l| link(l, EntryType::Symlink, "link", "./a/one"), &["/link"]);
    differs(|l| put(l, header(EntryType::Fifo, 0o600, (0, 0)), "a/two", ""), &["/a/two"]);
    differs(|l| put(l, header(EntryType::Regular, 0o4755, (10, 3_000_000)), "tool", "x"), &["/tool"]);
    differs(
        |l| {
            attribute(l, "security.capability", b"\x01\0\n<");
            put(l, header(EntryType::Regular, 0o4755, (10, 3_000_000)), "tool", "x");
        },
        &["/tool"],
    );
    differs(
        |l| {
            let mut device = header(EntryType::Char, 0o666, (0, 0));
            device.set_device_major(1).unwrap();
            device.set_device_minor(5).unwrap();
            put(l, device, "null", "");
        },
        &["/null"],
    );
}

#[test]
fn each_difference_of_configurations_is_seen() {
    let layers = [layer(base)];
    let first = read(&layers);
    let check = |change: &dyn Fn(&mut Value), expected: &[&str]| {
        let mut changed = configuration();
        change(&mut changed);
        let second = Image::parse(&saved(&layers, changed.clone()));
        let differences = compare(&first, &second);
        let places: Vec<&str> = differences.iter().map(|difference| difference.place.as_str()).collect();
        assert_eq!(places, expected);
        let same = compare(&second, &Image::parse(&layout(&layers, changed)));
        assert_eq!(same, [] as [Difference; 0], "the other kind of archive");
    };
    check(&|_| {}, &[]);
    check(&|c| c["created"] = json!("2027-01-01T00:00:00Z"), &[]);
    check(&|c| c["history"][0]["created"] = json!("2027-01-01T00:00:00Z"), &[]);
    check(&|c| c["config"]["Labels"] = json!({}), &[]);
    check(&|c| drop(c["config"].as_object_mut().unwrap().remove("OnBuild")), &[]);
    check(&|c| c["config"]["Labels"] = json!({ "a": "b" }), &["config.Labels.a"]);
    check(&|c| c["config"]["Env"] = json!(["A=1", "PATH=/bin"]), &["config.Env[0]", "config.Env[1]"]);
    check(&|c| c["config"]["User"] = json!("10"), &["config.User"]);
    check(&|c| c["config"]["Cmd"] = json!(["sh", "-l"]), &["config.Cmd[1]"]);
    check(&|c| c["architecture"] = json!("arm64"), &["architecture"]);
    check(&|c| c["history"][0]["created_by"] = json!("COPY"), &["history[0].created_by"]);
    check(&|c| c["history"][0]["empty_layer"] = json!(true), &["history[0].empty_layer"]);
    check(&|c| c["config"]["ArgsEscaped"] = json!(true), &["config.ArgsEscaped"]);
}

#[test]
#[should_panic(expected = "the digest of blobs/sha256/")]
fn a_layer_that_is_not_the_one_that_is_named_is_no_image() {
    let good = saved(&[layer(|l| file(l, "unique", "0123456789"))], configuration());
    let text = b"0123456789";
    let at = good.windows(text.len()).position(|window| window == text).unwrap();
    let mut bad = good;
    bad[at] = b'X';
    Image::parse(&bad);
}
