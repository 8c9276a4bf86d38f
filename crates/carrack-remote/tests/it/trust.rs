//! Who is believed.

use std::fs;

use carrack_remote::signature::{PublicKey, SecretKey};
use carrack_remote::{Access, Distrust, Location, RemoteError};

use crate::fixture::{Place, fetch, places, publish};

fn access(place: &Place, signing: Option<&SecretKey>, trusted: &[PublicKey]) -> Access {
    Access { signing: signing.cloned(), trusted: trusted.to_vec(), ..place.access.clone() }
}

#[test]
fn entries_are_believed_if_a_trusted_key_signed_them() {
    let (mine, other) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
    for place in places() {
        let kind = place.kind;
        publish(&place.open(), "unsigned", b"head", &[b"blob"]).unwrap();
        publish(&place.open_as(&access(&place, Some(&mine), &[])), "mine", b"head", &[b"blob"]).unwrap();
        let both = [mine.public(), other.public()];
        for (name, trusted, expected) in [
            ("unsigned", &[][..], None),
            ("mine", &[], None),
            ("mine", &both[..1], None),
            ("mine", &both, None),
            ("mine", &both[1..], Some(Distrust::UnknownKeys(vec![mine.public()]))),
            ("unsigned", &both, Some(Distrust::Unsigned)),
        ] {
            let remote = place.open_as(&access(&place, None, trusted));
            match (remote.find(name), expected) {
                (Ok(Some(entry)), None) => assert_eq!(entry.head, b"head"),
                (Err(RemoteError::Untrusted { distrust, .. }), Some(expected)) => {
                    assert_eq!(distrust, expected, "{kind} {name}");
                    assert_eq!(remote.find("absent").unwrap(), None, "{kind}: it is still on");
                }
                (found, expected) => panic!("{kind} {name}: {found:?} instead of {expected:?}"),
            }
        }
    }
}

#[test]
fn a_signed_entry_is_not_believed_under_another_name_or_with_other_blobs() {
    let key = SecretKey::generate().unwrap();
    let place = crate::fixture::folder();
    let signer = place.open_as(&access(&place, Some(&key), &[]));
    publish(&signer, "a", b"head of a", &[b"blob of a"]).unwrap();
    publish(&signer, "b", b"head of b", &[b"blob of b"]).unwrap();
    let Location::Folder { path } = &place.location else { unreachable!() };
    let entry = |name: &str| path.join("entries").join(name);
    let remote = place.open_as(&access(&place, None, &[key.public()]));
    let untrusted = |name: &str| match remote.find(name) {
        Err(RemoteError::Untrusted { distrust: Distrust::WrongSignature(wrong), .. }) => {
            wrong == key.public()
        }
        other => panic!("{other:?}"),
    };
    fs::copy(entry("a"), entry("c")).unwrap();
    assert!(untrusted("c"));
    let text = |name: &str| fs::read_to_string(entry(name)).unwrap();
    let (a, b) = (text("a"), text("b"));
    let (head_of_a, blobs_of_b) =
        (a.split("\"blobs\"").next().unwrap(), b.split("\"blobs\"").nth(1).unwrap());
    fs::write(entry("a"), format!("{head_of_a}\"blobs\"{blobs_of_b}")).unwrap();
    assert!(untrusted("a"));
    assert!(fetch(&remote, "b").unwrap().is_some());
    let believing = place.open();
    assert_eq!(fetch(&believing, "a").unwrap().unwrap().1, [b"blob of b"]);
}
