//! Three versions over every real engine: each test starts one server, and all its cases are sessions of that one store.

use crate::{alternation, interleaved::play, oracle::steps, visitor::Visitor};
use cloakroom_tests::{engines::Running, on_engines};
use proptest::test_runner::{Config, TestRunner};
use tokio::{runtime::Handle, task::block_in_place};

on_engines! {
    [on_redis: Redis, on_a_redis_cluster: RedisCluster, on_postgres: Postgres, on_mysql: MySql]
    {
        versions_interleaved_in_any_way_do_what_the_oracle_does
        old_and_new_programs_alternate_as_the_table_says
        a_rollback_and_a_second_deploy_keep_the_user_signed_in
    }
}

async fn versions_interleaved_in_any_way_do_what_the_oracle_does(running: Running) {
    // A case takes hundreds of round trips; in memory there are many more of them.
    let config = Config { cases: 128, failure_persistence: None, ..Config::default() };
    let case = |steps| block_in_place(|| Handle::current().block_on(play(running.store.clone(), steps)));
    TestRunner::new(config).run(&steps(), case).unwrap_or_else(|failure| panic!("{failure}"));
}

async fn old_and_new_programs_alternate_as_the_table_says(running: Running) {
    let visitor = || Visitor::new(running.store.clone());
    alternation::with_up_and_down_each_sees_what_the_other_wrote(visitor()).await;
    alternation::with_forget_older_versions_see_the_default_and_what_they_write_is_seen(visitor()).await;
    alternation::a_clear_reaches_older_versions(visitor()).await;
    alternation::a_clear_by_an_older_version_beats_what_a_newer_one_wrote(visitor()).await;
    alternation::a_field_that_older_versions_lack_survives_them(visitor()).await;
    alternation::a_removed_field_stays_what_it_was_for_older_versions(visitor()).await;
    alternation::a_computed_field_follows_its_source_until_it_is_written_itself(visitor()).await;
    alternation::a_forgotten_generation_is_neither_read_nor_written(visitor()).await;
    alternation::a_value_that_was_forced_is_what_an_upgrade_on_each_read_was(visitor()).await;
}

async fn a_rollback_and_a_second_deploy_keep_the_user_signed_in(running: Running) {
    alternation::a_rollback_and_a_second_deploy_keep_the_user_signed_in(Visitor::new(running.store.clone())).await;
}
