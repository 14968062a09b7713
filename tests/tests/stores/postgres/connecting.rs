//! Connection strings: TLS, wrong ones, and that no password is ever repeated.

use super::*;

/// What a wrong setting is answered with.
async fn refusal(store: PostgresConnect) -> String {
    let error = match store.await {
        Ok(_) => panic!("it connects"),
        Err(error) => error,
    };
    assert!(matches!(error, StoreError::Unavailable(_)));
    format!("{error} {error:?}")
}

#[tokio::test]
async fn a_wrong_password_is_told_without_repeating_it() {
    let server = needs!(PostgresServer::start().await);
    let url = server.url().replace(cloakroom_tests::servers::PASSWORD, "hunter2");
    let builder = PostgresStore::connect(&url);
    assert!(!format!("{builder:?}").contains("hunter2"));
    let error = refusal(builder).await;
    assert!(error.contains("password authentication failed") && !error.contains("hunter2"), "{error}");
    let error = refusal(PostgresStore::connect(url.replace(&server.address().port().to_string(), "1"))).await;
    assert!(error.contains("the PostgreSQL server at 127.0.0.1") && !error.contains("hunter2"), "{error}");
    let store = store(&server).await;
    assert_eq!(format!("{store:?}"), "PostgresStore { tables: \"the tables cloakroom_*\", .. }");
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused_with_what_to_give() {
    let connect = || PostgresStore::connect("postgres://me:hunter2@127.0.0.1:1/shop");
    for (store, advice) in [
        (connect().table_prefix("sessions\""), "ASCII letters, digits and underscores"),
        (connect().schema(""), "ASCII letters, digits and underscores"),
        (connect().connections(0), "give 1 or more"),
        (PostgresStore::connect("hunter2"), "give postgres://user:password@host:5432/database"),
        (pooled(String::new()).connections(3), "size the application's pool"),
        (
            PostgresStore::connect("postgres://me:hunter2@127.0.0.1/shop?sslmode=verify-full&sslrootcert=/no/such.pem"),
            "/no/such.pem",
        ),
    ] {
        let error = refusal(store).await;
        assert!(error.contains(advice) && !error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn tls_is_as_strict_as_the_connection_string_says() {
    let server = needs!(PostgresServer::with_tls(&[]).await);
    let stranger = needs!(PostgresServer::with_tls(&[]).await);
    let url = |mode: &str, ca: Option<&PostgresServer>, host: &str| {
        let roots = ca.map_or_else(String::new, |server| format!("&sslrootcert={}", server.ca_file().display()));
        let url = server.url().replace("sslmode=require", &format!("sslmode={mode}{roots}"));
        url.replace("127.0.0.1", host)
    };
    let (own, others) = (Some(&server), Some(&stranger));
    // 127.0.0.2 is the same server, by a name that its certificate does not have.
    let elsewhere = "127.0.0.2";
    for (mode, ca, host, expected) in [
        ("require", None, "127.0.0.1", Ok(())),
        ("prefer", others, "127.0.0.1", Ok(())),
        ("verify-ca", own, "127.0.0.1", Ok(())),
        ("verify-full", own, "127.0.0.1", Ok(())),
        ("verify-full", own, "localhost", Ok(())),
        ("verify-full", others, "127.0.0.1", Err("certificate")),
        ("verify-ca", others, "127.0.0.1", Err("certificate")),
        ("require", others, "127.0.0.1", Err("certificate")),
        ("verify-full", None, "127.0.0.1", Err("certificate")),
        ("disable", None, "127.0.0.1", Err("no encryption")),
    ] {
        let outcome = patient(PostgresStore::connect(url(mode, ca, host))).await;
        match expected {
            Ok(()) => assert!(outcome.is_ok(), "{mode} {host}: {:?}", outcome.err()),
            Err(why) => {
                let error = outcome.map(drop).unwrap_err().to_string();
                assert!(error.contains(why), "{mode} {host}: {error}");
            }
        }
    }
    // A proxy stands at another address of the loopback network, which the certificate does not name.
    let listener = tokio::net::TcpListener::bind((elsewhere, 0)).await.unwrap();
    let (port, target) = (listener.local_addr().unwrap().port(), server.address());
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    let by_proxy = |mode| url(mode, own, elsewhere).replace(&target.port().to_string(), &port.to_string());
    assert!(patient(PostgresStore::connect(by_proxy("verify-ca"))).await.is_ok());
    let error = patient(PostgresStore::connect(by_proxy("verify-full"))).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("not valid for name"), "{error}");
    let store = made(patient(PostgresStore::connect(url("verify-full", own, "localhost")))).await;
    create(&store, &key(1), &record(&[])).await;
    assert_eq!(
        server
            .sql("SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'cloakroom'")
            .await,
        "t"
    );
}

#[tokio::test]
async fn behind_a_pooler_that_takes_no_settings_nothing_is_prepared() {
    let server = needs!(PostgresServer::start().await);
    // What such a pooler does: it refuses connections that begin with settings.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (pooler, target) = (listener.local_addr().unwrap(), server.address());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut first = vec![0; 4096];
                let mut length = near.read(&mut first).await.unwrap();
                if length == 8 {
                    near.write_all(b"N").await.unwrap();
                    length = near.read(&mut first).await.unwrap();
                }
                if first[..length].windows(7).any(|it| it == b"options") {
                    let fields = b"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: options\0\0";
                    near.write_u8(b'E').await.unwrap();
                    near.write_u32(fields.len() as u32 + 4).await.unwrap();
                    near.write_all(fields).await.unwrap();
                    return;
                }
                let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
                far.write_all(&first[..length]).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    let url = server.url().replace(&target.to_string(), &pooler.to_string());
    let store = made(patient(PostgresStore::connect(url))).await;
    create(&store, &key(1), &record(&[put("shop/a", b"1")])).await;
    for _ in 0..4 {
        assert!(load(&store, &key(1)).await.unwrap().is_some());
        assert!(is_committed(&store.commit(&key(1), &patch(&[put("shop/a", b"2")])).await.unwrap()));
    }
}
