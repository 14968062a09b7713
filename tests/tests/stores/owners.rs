//! Where a session and its entry in the list of its owner are one row, they cannot part.

use cloakroom::{Lifetime, record::*, store::SessionStore};
use cloakroom_tests::{
    engines::{Place, Running},
    on_engines,
};

on_engines! {
    [on_sqlite: Sqlite, on_postgres: Postgres, on_mysql: MySql]
    {
        index_and_record_cannot_part
    }
}

/// R10: the entry deleted by hand is here the whole index, since an entry of its own does not exist.
async fn index_and_record_cannot_part(running: Running) {
    let at = |hours: i64| Timestamp::from_millis(4_102_444_800_000 + hours * 3_600_000);
    let (key, owner) = (Selector::from_bytes([7; 16]), OwnerHash::from_bytes([9; 32]));
    let secret = SecretHash::from_bytes([1; 32]);
    let mut header = Header::new(secret, WrappedKey::from_bytes([2; 32]), at(0), at(1), at(24));
    header.owner = Some(Owner { schema: "shop".into(), hash: owner });
    running.store.create(&key, Record::new(header, Cells::default())).await.unwrap();
    match &running.place {
        Place::Sqlite(folder) => {
            let db = rusqlite::Connection::open(folder.path().join("sessions.db")).unwrap();
            db.execute_batch("DROP INDEX cloakroom_record_by_owner").unwrap();
        }
        Place::Postgres(server) => drop(server.sql("DROP INDEX cloakroom_record_owner_hash_selector_idx").await),
        Place::MySql(server) => drop(server.sql("ALTER TABLE cloakroom_record DROP INDEX by_owner").await),
        _ => panic!("its index is not a part of its records"),
    }
    let listed = running.store.by_owner(&owner).await.unwrap();
    assert_eq!(listed.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [key]);
    assert_eq!(running.store.delete_by_owner(&owner, None).await.unwrap(), 1);
    let presented = Presented::new(secret, at(0), Lifetime::default());
    assert!(running.store.load(&key, &presented, &Want::default()).await.unwrap().is_none());
}
