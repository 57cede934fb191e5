//! A single server.

use std::net::TcpStream;

use evenkeel_xtask::nats::{NatsOptions, Server};

fn answers(server: &Server) -> bool {
    TcpStream::connect(server.url.trim_start_matches("nats://")).is_ok()
}

#[test]
fn a_server_keeps_its_port_over_stop_and_kill_and_ends_with_its_owner() {
    let mut server = Server::start(NatsOptions::default()).unwrap();
    let url = server.url.clone();
    assert!(answers(&server));
    server.stop().unwrap();
    assert!(!answers(&server));
    server.restart().unwrap();
    assert!(answers(&server));
    server.kill().unwrap();
    assert!(!answers(&server));
    server.restart().unwrap();
    assert_eq!(server.url, url);
    drop(server);
    assert!(TcpStream::connect(url.trim_start_matches("nats://")).is_err());
}

#[test]
fn two_servers_run_side_by_side() {
    let one = Server::start(NatsOptions::default()).unwrap();
    let two = Server::start(NatsOptions::default()).unwrap();
    assert_ne!(one.url, two.url);
}
