//! `carrack` from outside: the program itself, in real workspaces.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cache;
mod cargo;
mod check;
mod commands;
mod compose;
mod determinism;
mod docker_build;
mod doctor;
mod engines;
mod foreign;
mod freshness;
mod guide;
mod init;
mod init_docker;
mod init_traps;
mod interruption;
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
mod troubleshooting;
