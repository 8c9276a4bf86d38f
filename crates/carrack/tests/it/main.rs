//! `carrack` from outside: the program itself, in real workspaces.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod based;
mod cache;
mod called_cargo;
mod cargo;
mod check;
mod commands;
mod compose;
mod compose_dockerfiles;
mod determinism;
mod docker_build;
mod dockerfile;
mod dockerfile_calls;
mod dockerfile_failures;
mod dockerfile_refusals;
mod doctor;
mod engines;
mod foreign;
mod freshness;
mod guide;
mod init;
mod init_docker;
mod init_traps;
mod interruption;
mod mirrors;
mod ordinary;
mod outputs;
mod parity;
mod proof;
mod published;
mod refusals;
mod registry;
mod rootless;
mod rustcare;
mod scene;
mod shared;
mod site;
mod stage;
mod steps;
mod travel;
mod troubleshooting;
mod units;
