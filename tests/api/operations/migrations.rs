//! Migrations beside other sessions, and the check that replaces them.

use std::process::Command;
use std::time::{Duration, Instant};

use actix_web::rt::spawn;
use actix_web::rt::time::sleep;
use serde_json::json;
use shortline::startup::Application;
use shortline::store::migrations;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::support::{Contents, DIDS, GROUPS, SECRET, check, check_database, settings, url};

/// The versions of the schemas of older releases. The migrations after the second one lock tables.
const OLDER_SCHEMAS: [i32; 2] = [8, 6];

const ROWS: &str = "
    insert into partners
    values ('00000000-0000-4000-8000-000000000001', null, default, 1, '', now(), '{}', '', '{}',
            null, null, now(), 'CX1', null, 'one', 'active');
    insert into oauth_tokens (sid, partner_sid, version, head, changed_at, access_hash, date_created,
                              date_expiration_access_token, scopes)
    select gen_random_uuid(), sid, 1, '', now(), '\\x00', now(), now(), '' from partners;
    insert into history
    select sid, 1, 'partner', sid, now(), '{}', '' from partners;";
/// Statements such as those of an older release.
const OLDER_RELEASE: [&str; 3] = [
    "select oauth_tokens.sid from oauth_tokens join partners on partners.sid = partner_sid",
    "update oauth_tokens set date_last_accessed = clock_timestamp()",
    "with changed as (update partners set version = version + 1 returning sid, version)
     insert into history select sid, version, 'partner', sid, now(), '{}', '' from changed",
];

#[test]
fn a_migration_delays_no_reader_and_no_older_release_for_long() {
    for version in OLDER_SCHEMAS {
        check_database(Contents::Empty, async |database| {
            let connect = async || database.connect().await.unwrap();
            migrations::run_until(connect().await, version).await.unwrap();
            let mut reader = connect().await;
            sqlx::raw_sql(ROWS).execute(&mut reader).await.unwrap();
            // A reader that is open for longer than a migration waits for a lock.
            let mut tx = reader.begin().await.unwrap();
            sqlx::raw_sql(OLDER_RELEASE[0]).execute(&mut *tx).await.unwrap();
            let migration = spawn(migrations::run(connect().await));
            let began = Instant::now();
            let (mut release, mut longest) = (connect().await, Duration::ZERO);
            while began.elapsed() < Duration::from_secs(2) {
                for statement in OLDER_RELEASE {
                    let sent = Instant::now();
                    sqlx::raw_sql(statement).execute(&mut release).await.unwrap();
                    longest = longest.max(sent.elapsed());
                }
                sleep(Duration::from_millis(5)).await;
            }
            assert!(version == 8 || !migration.is_finished(), "the reader blocks it");
            tx.rollback().await.unwrap();
            let report = migration.await.unwrap().unwrap();
            let newest = report.applied_migrations().last().unwrap().version();
            assert_eq!(newest, migrations::newest());
            assert!(longest < Duration::from_secs(1), "a statement took {longest:?}");
            for statement in OLDER_RELEASE {
                sqlx::raw_sql(statement).execute(&mut release).await.unwrap();
            }
            release.close().await.unwrap();
            reader.close().await.unwrap();
        });
    }
}

/// A partner of the operator, with two sub-partners below it: one of the operator, which the
/// operator has suspended, and below that one of the API, which its grandparent has suspended.
const TREE: &str = "
    insert into partners (sid, parent_sid, version, head, changed_at, attributes, available_scopes,
                          callbacks, date_created, display_id, name, status)
    select sid::uuid, parent_sid::uuid, 2, '', now(), '{}', '', '{}', now(), sid, 'one', status
    from (values (0, '00000000-0000-4000-8000-000000000001', null, 'active'),
                 (1, '00000000-0000-4000-8000-000000000002',
                  '00000000-0000-4000-8000-000000000001', 'suspended'),
                 (2, '00000000-0000-4000-8000-000000000003',
                  '00000000-0000-4000-8000-000000000002', 'suspended'))
        as partner (ordinal, sid, parent_sid, status)
    order by ordinal;
    insert into history
    select ('00000000-0000-4000-8000-00000000000' || number)::uuid, version, 'partner',
        ('00000000-0000-4000-8000-00000000000' || number)::uuid, now(), entry, ''
    from (values
        (1, 1, '{\"partner_sid\":null}'), (2, 1, '{\"partner_sid\":null}'),
        (2, 2, '{\"changes\":{\"status\":{\"after\":\"suspended\"}},\"partner_sid\":null}'),
        (3, 1, '{\"partner_sid\":\"00000000-0000-4000-8000-000000000002\"}'),
        (3, 2, '{\"changes\":{\"status\":{\"after\":\"suspended\"}},
                 \"partner_sid\":\"00000000-0000-4000-8000-000000000001\"}')
    ) as entry (number, version, entry)";

#[test]
fn the_levels_of_suspensions_and_the_subtrees_are_taken_from_the_history() {
    check_database(Contents::Empty, async |database| {
        migrations::run_until(database.connect().await.unwrap(), 8).await.unwrap();
        let mut connection = database.connect().await.unwrap();
        sqlx::raw_sql(TREE).execute(&mut connection).await.unwrap();
        migrations::run(database.connect().await.unwrap()).await.unwrap();
        let placed = "select right(sid::text, 1), right(subtree_sid::text, 1), suspended_by
                      from partners order by sid";
        let placed: Vec<(String, String, Option<i32>)> =
            sqlx::query_as(placed).fetch_all(&mut connection).await.unwrap();
        let expected = [("1", "1", None), ("2", "2", Some(0)), ("3", "2", Some(1))];
        let expected =
            expected.map(|(sid, subtree, level)| (sid.to_owned(), subtree.to_owned(), level));
        assert_eq!(placed, expected);
        // A partner that an older release creates joins the subtree of its parent.
        let older = "insert into partners (sid, parent_sid, version, head, changed_at, attributes,
                         available_scopes, callbacks, date_created, display_id, name, status)
                     select '00000000-0000-4000-8000-000000000004', sid, 1, '', now(), '{}', '', '{}',
                         now(), 'CX4', 'one', 'active'
                     from partners where right(sid::text, 1) = '3'
                     returning right(subtree_sid::text, 1)";
        let subtree: String = sqlx::query_scalar(older).fetch_one(&mut connection).await.unwrap();
        assert_eq!(subtree, "2");
        connection.close().await.unwrap();
    });
}

#[test]
fn no_migrate_accepts_a_newer_schema_and_rejects_an_older_one_in_one_line() {
    check_database(Contents::Empty, async |database| {
        let serve = || {
            Command::new(env!("CARGO_BIN_EXE_shortline"))
                .args(["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET])
                .args(["--database-url", &url(database)])
                .env("SHORTLINE_NO_MIGRATE", "1")
                .output()
                .unwrap()
        };
        let mut version = 0;
        for is_migrated in [false, true] {
            if is_migrated {
                let (connection, older) = (database.connect(), migrations::newest() - 1);
                let report = migrations::run_until(connection.await.unwrap(), older).await.unwrap();
                version = report.applied_migrations().last().unwrap().version();
            }
            let output = serve();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success());
            assert!(stderr.contains(&format!("has version {version}, ")), "{stderr}");
            assert!(stderr.contains("run `shortline migrate`"), "{stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
        migrations::run(database.connect().await.unwrap()).await.unwrap();
        let newer = "insert into refinery_schema_history
                     select max(version) + 1, 'next', max(applied_on), '1'
                     from refinery_schema_history";
        let mut connection = database.connect().await.unwrap();
        sqlx::raw_sql(newer).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let settings = settings(&["--no-migrate"]);
        assert!(Application::build(&settings, database.clone()).await.is_ok());
    });
}

#[test]
fn data_can_be_restored_into_a_migrated_database() {
    check_database(Contents::Tenants, async |database| {
        // The rows of a dump: without a search path, a child before its parent, and with the rows
        // of the tree that the triggers add as well.
        let restore = "
            create temporary table old_partners as select * from partners order by ordinal desc;
            create temporary table old_tree as select * from partner_tree;
            begin;
            set local session_replication_role = replica;
            delete from partner_tree;
            delete from partners;
            set local session_replication_role = origin;
            set local search_path = '';
            insert into public.partners overriding system value
            select * from pg_temp.old_partners;
            insert into public.partner_tree select * from pg_temp.old_tree;
            commit";
        let mut connection = database.connect().await.unwrap();
        sqlx::raw_sql(restore).execute(&mut connection).await.unwrap();
        let same = "select not exists (
                        (table partner_tree except table old_tree)
                        union all (table old_tree except table partner_tree)
                        union all (select ancestor_sid, sid from partner_tree, partners
                            where ancestor_sid = descendant_sid and sid = ancestor_sid
                            group by 1, 2 having count(*) > 1))";
        let same: bool = sqlx::query_scalar(same).fetch_one(&mut connection).await.unwrap();
        assert!(same);
        connection.close().await.unwrap();
    });
}

#[test]
fn a_repeated_order_of_creation_is_an_error() {
    check(async |app| {
        let mut connection = app.connection().await;
        for table in ["did_groups", "did_stock", "dids", "oauth_tokens", "partners", "short_codes"]
        {
            // As after a switchover by logical replication.
            let restart = format!("alter table {table} alter ordinal restart with 1");
            sqlx::raw_sql(AssertSqlSafe(restart)).execute(&mut connection).await.unwrap();
        }
        for list in [DIDS, GROUPS] {
            app.post(list, &json!({})).await.expect_error(500, "internal server error");
        }
        let sid = app.partner.sid.to_string();
        let new: [&[&str]; 3] = [
            &["partner", "create", "--name", "x"],
            &["short-code", "create", "--partner", &sid, "--short-code", "20001"],
            &["token", "issue", "--partner", &sid, "--opaque"],
        ];
        for (arguments, table) in new.into_iter().zip(["partners", "short_codes", "oauth_tokens"]) {
            let mut command = Command::new(env!("CARGO_BIN_EXE_shortline"));
            command.args(arguments).args(["--database-url", &url(&app.database)]);
            let output = command.output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(stderr.contains(&format!("{table}_ordinal_key")), "{stderr}");
        }
    });
}

#[test]
fn every_order_of_creation_is_unique() {
    check_database(Contents::Migrated, async |database| {
        let repeatable = "
            select attrelid::regclass::text from pg_attribute
            join pg_class on pg_class.oid = attrelid and relkind = 'r'
            where attname = 'ordinal' and not exists (
                select from pg_index where indrelid = attrelid and indisunique
                    and pg_get_indexdef(indexrelid) ~ '\\(+ordinal( \\+ 0)?\\)+$')";
        let repeatable = sqlx::query_scalar::<_, String>(repeatable);
        let tables = repeatable.fetch_all(&mut database.connect().await.unwrap()).await.unwrap();
        assert_eq!(tables, [""; 0]);
    });
}

#[test]
fn the_numbers_of_objects_are_stored_by_the_upgrade() {
    const CREATE: &str = "
        insert into did_groups (sid, partner_sid, version, head, changed_at, name)
        select gen_random_uuid(), sid, 1, '', now(), 'one' from partners, generate_series(1, 3)";
    check_database(Contents::Empty, async |database| {
        let mut connection = database.connect().await.unwrap();
        migrations::run_until(database.connect().await.unwrap(), 18).await.unwrap();
        sqlx::raw_sql(TREE).execute(&mut connection).await.unwrap();
        sqlx::raw_sql(CREATE).execute(&mut connection).await.unwrap();
        migrations::run(database.connect().await.unwrap()).await.unwrap();
        // The older release creates more.
        sqlx::raw_sql(CREATE).execute(&mut connection).await.unwrap();
        let numbers =
            "select kind, sum(change)::bigint from object_counts group by partner_sid, kind";
        let numbers: Vec<(String, i64)> =
            sqlx::query_as(numbers).fetch_all(&mut connection).await.unwrap();
        assert_eq!(numbers, vec![("did_group".to_owned(), 6); 3]);
        connection.close().await.unwrap();
    });
}
