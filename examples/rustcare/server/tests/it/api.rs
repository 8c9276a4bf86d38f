use serde_json::{Value, json};

use crate::support::Server;

const ADA: &str = r#"{"name": "Ada Lovelace", "birth_date": "1990-12-10", "email": "ada@example.org"}"#;
const BOOKING: &str = r#"{"patient": "pat-1", "clinician": "Dr Osler", "starts_at": "2026-03-01T10:30:00+01:00",
    "minutes": 30, "reason": "J45.9"}"#;

fn bad_fields(error: &Value) -> Vec<&str> {
    error["fields"].as_array().unwrap().iter().map(|field| field["field"].as_str().unwrap()).collect()
}

#[test]
fn health_names_the_versions() {
    let server = Server::start();
    let expected = json!({"healthy": true, "version": env!("CARGO_PKG_VERSION"), "schema_version": 3});
    assert_eq!(server.get("/health"), (200, expected));
}

#[test]
fn a_damaged_database_is_not_healthy() {
    let server = Server::start();
    let connection = rusqlite::Connection::open(server.folder.path().join("rustcare.db")).unwrap();
    connection
        .execute_batch("DROP TABLE migrations; CREATE TABLE migrations (x); DROP TABLE patients")
        .unwrap();
    let (status, health) = server.get("/health");
    assert_eq!((status, &health["healthy"], health.get("schema_version")), (503, &json!(false), None));
    let (status, error) = server.get("/patients");
    assert_eq!((status, &error["code"]), (500, &json!("internal")));
    assert!(!error["message"].as_str().unwrap().contains("patients"), "{error}");
}

#[test]
fn patients_are_created_read_changed_and_removed() {
    let server = Server::start();
    let (status, created) = server.post("/patients", ADA);
    assert_eq!(
        (status, &created["id"], &created["birth_date"]),
        (201, &json!("pat-1"), &json!("1990-12-10"))
    );
    assert_eq!(server.get("/patients/pat-1"), (200, created.clone()));
    assert_eq!(server.get("/patients"), (200, json!({"items": [created]})));
    let (status, changed) =
        server.put("/patients/pat-1", r#"{"name": "Ada King", "birth_date": "1990-12-10"}"#);
    assert_eq!((status, &changed["name"], changed.get("email")), (200, &json!("Ada King"), None));
    assert_eq!(server.delete("/patients/pat-1"), (204, Value::Null));
    assert_eq!(server.delete("/patients/pat-1").0, 404);
    assert_eq!(server.get("/patients/pat-1").0, 404);
    assert_eq!(server.put("/patients/pat-1", ADA).0, 404);
}

#[test]
fn invalid_patients_name_every_field() {
    let server = Server::start();
    let (status, error) = server.post("/patients", r#"{"name": " ", "birth_date": "soon", "email": "ada"}"#);
    assert_eq!((status, &error["code"]), (422, &json!("invalid")));
    assert_eq!(bad_fields(&error), ["name", "birth_date", "email"]);
    assert_eq!(server.get("/patients"), (200, json!({"items": []})));
}

#[test]
fn unreadable_requests_get_json_too() {
    let server = Server::start();
    for (body, status) in [("{", 400), (r#"{"name": "Ada"}"#, 422), (r#"{"nam": "Ada"}"#, 422)] {
        let (got, error) = server.post("/patients", body);
        assert_eq!((got, &error["code"]), (status, &json!("malformed")), "{body}");
    }
    for path in ["/patients?limit=many", "/patients?after=apt-1", "/appointments?status=lost", "/codes?x=1"] {
        let (status, error) = server.get(path);
        assert_eq!((status, &error["code"]), (400, &json!("malformed")), "{path}");
    }
    for path in ["/nowhere", "/patients/1", "/patients/%ff", "/appointments/pat-1", "/appointments/apt-1"] {
        let (status, error) = server.get(path);
        assert_eq!((status, &error["code"]), (404, &json!("not_found")), "{path}");
    }
    assert_eq!(server.delete("/health").0, 405);
}

#[test]
fn pages_lead_to_each_other() {
    let server = Server::start();
    for name in ["Ada", "Bob", "Cleo"] {
        server.post("/patients", &json!({"name": name, "birth_date": "1990-12-10"}).to_string());
    }
    let names = |page: &Value| -> Vec<String> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let (_, first) = server.get("/patients?limit=2");
    assert_eq!((names(&first), &first["next"]), (vec!["Ada".to_owned(), "Bob".to_owned()], &json!("pat-2")));
    let (_, last) = server.get("/patients?limit=2&after=pat-2");
    assert_eq!((names(&last), last.get("next")), (vec!["Cleo".to_owned()], None));
    let (_, exact) = server.get("/patients?limit=3");
    assert_eq!(exact.get("next"), None);
}

#[test]
fn appointments_are_booked_listed_and_cancelled() {
    let server = Server::start();
    server.post("/patients", ADA);
    let (status, booked) = server.post("/appointments", BOOKING);
    let expected = json!({
        "id": "apt-1", "patient": "pat-1", "clinician": "Dr Osler", "starts_at": "2026-03-01T09:30:00Z",
        "minutes": 30, "reason": "J45.9", "reason_title": "Asthma, unspecified", "status": "booked",
    });
    assert_eq!((status, &booked), (201, &expected));
    assert_eq!(server.get("/appointments/apt-1"), (200, booked.clone()));
    assert_eq!(server.get("/appointments?patient=pat-1&status=booked"), (200, json!({"items": [booked]})));
    assert_eq!(server.get("/appointments?patient=pat-2"), (200, json!({"items": []})));
    let (status, cancelled) = server.post("/appointments/apt-1/cancel", "");
    assert_eq!((status, &cancelled["status"]), (200, &json!("cancelled")));
    assert_eq!(server.get("/appointments?status=booked"), (200, json!({"items": []})));
    assert_eq!(server.post("/appointments/apt-2/cancel", "").0, 404);
}

#[test]
fn what_is_stored_can_forbid_a_request() {
    let server = Server::start();
    assert_eq!(server.post("/appointments", BOOKING).0, 404);
    server.post("/patients", ADA);
    server.post("/appointments", BOOKING);
    for (status, error) in [
        server.post("/patients", ADA),
        server.post("/appointments", BOOKING),
        server.delete("/patients/pat-1"),
    ] {
        assert_eq!((status, &error["code"]), (409, &json!("conflict")), "{error}");
    }
    let (status, error) =
        server.post("/appointments", &BOOKING.replace("J45.9", "cough").replace("30,", "600,"));
    assert_eq!((status, bad_fields(&error)), (422, vec!["minutes", "reason"]));
}

#[test]
fn codes_are_found_by_prefix() {
    let server = Server::start();
    let (status, codes) = server.get("/codes?prefix=j45");
    assert_eq!((status, codes.as_array().unwrap().len()), (200, 2));
    assert_eq!(codes[1], json!({"code": "J45.9", "title": "Asthma, unspecified"}));
}
