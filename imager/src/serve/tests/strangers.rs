//! Machines and programs that are not who they should be, or say what nobody says: they get nothing, and the others go on.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::testing::ROGUE;
use super::*;

/// Transfers that the server allows one address.
const MOST_OF_ONE: usize = 8;

#[test]
fn another_machine_gets_neither_image_nor_script() {
    let bench = Bench::new();
    run(async {
        let (web, warehouse) = http(&bench, None).await;
        let (packets, _) = tftp(&bench, None).await;
        let image = format!("boot/{MAC}/skerry.efi");
        let seed = crate::stamp::base::Opened::open(&bench.image()).expect("opened").seed();
        for request in [
            format!("GET /{image} HTTP/1.1\r\n"),
            format!("HEAD /{image} HTTP/1.1\r\n"),
            format!("GET /{image} HTTP/1.1\r\nRange: bytes={}-{}\r\n", seed.start, seed.end - 1),
            format!("GET http://{MAC}/{image} HTTP/1.1\r\n"),
            format!("GET /boot/{MAC}/boot.ipxe HTTP/1.1\r\n"),
        ] {
            let (head, body) = ask_from(ROGUE, web, &request).await;
            assert!(head.starts_with("http/1.1 403"), "{request}{head}");
            let words = String::from_utf8(body).expect("text");
            assert!(!words.contains("store-1") && !words.contains("skerry.runtime"), "{words}");
        }
        for file in [image.clone(), format!("boot/{MAC}/boot.ipxe")] {
            let refusal = load_from(ROGUE, packets, &file, "tsize\x000\0").await.expect_err("refused");
            assert!(refusal.contains("another machine's"), "{refusal}");
        }
        for secret in ["store-1.token", "store-1.manifest.json"] {
            assert!(!bench.folder.path().join(secret).exists(), "{secret} was made for a stranger");
        }
        assert_eq!(warehouse.loads(&Bench::mac()), 0);
        let (_, body) = ask(web, &format!("GET /{image} HTTP/1.1\r\n")).await;
        expected(&bench, &body);
    });
}

#[test]
fn one_address_takes_so_many_transfers_and_is_told() {
    let bench = Bench::new();
    run(async {
        let (address, _) = tftp(&bench, None).await;
        let request = b"\0\x01ipxe/x86_64.efi\0octet\0";
        let mut held = Vec::new();
        for _ in 0..MOST_OF_ONE {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
            socket.send_to(request, address).await.expect("sent");
            let mut packet = [0; 600];
            let (_, from) = timeout(PATIENCE, socket.recv_from(&mut packet)).await.expect("in time").expect("read");
            assert_eq!(packet[..4], [0, 3, 0, 1], "the first block, which nobody acknowledges");
            held.push((socket, from));
        }
        let refusal = load(address, "ipxe/x86_64.efi", "").await.expect_err("one too many");
        assert!(refusal.contains("ask again in a moment"), "{refusal}");
        assert_eq!(load_from(ROGUE, address, "ipxe/x86_64.efi", "").await.as_deref(), Ok(IPXE), "others have room");
        let (socket, from) = held.pop().expect("several");
        socket.send_to(b"\0\x05\0\0gone\0", from).await.expect("sent");
        let again = async { while load(address, "ipxe/x86_64.efi", "").await.is_err() {} };
        timeout(PATIENCE, again).await.expect("the place is free again");
    });
}

/// A request that firmware could send, damaged, or noise.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let good = prop_oneof![
        Just("GET /ipxe/x86_64.efi HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
        Just(format!("GET /boot/{MAC}/boot.ipxe HTTP/1.0\r\n\r\n")),
        Just("GET /ipxe/x86_64.efi HTTP/1.1\r\nRange: bytes=1-2\r\nContent-Length: 5\r\n\r\n".to_owned()),
        "[A-Z]{0,9} /{0,3}[ -~]{0,40} HTTP/[0-9.]{0,4}\r\n([ -~]{0,20}:[ -~]{0,20}\r\n){0,4}\r\n",
    ];
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let cut = prop_oneof![3 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)];
    let damaged = (good, changes, cut).prop_map(|(good, changes, cut)| {
        let mut bytes = good.into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        bytes
    });
    prop_oneof![4 => damaged, 1 => proptest::collection::vec(any::<u8>(), 0..300)]
}

#[test]
fn no_bytes_stop_the_server() {
    let bench = Bench::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (web, _) = runtime.block_on(http(&bench, None));
    let (packets, _) = runtime.block_on(tftp(&bench, None));
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&damaged(), |bytes| {
        runtime.block_on(async {
            let mut stream = TcpStream::connect(web).await.expect("connected");
            stream.write_all(&bytes).await.ok(); // it may be refused before its end
            stream.shutdown().await.ok();
            let mut answer = Vec::new();
            let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("in time");
            prop_assert!(read.is_err() || answer.is_empty() || answer.starts_with(b"HTTP/1."), "{answer:?}");
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
            socket.send_to(&bytes, packets).await.expect("sent");
            let mut packet = [0; 600];
            let (length, _) = timeout(PATIENCE, socket.recv_from(&mut packet)).await.expect("in time").expect("read");
            prop_assert!(packet[..length].starts_with(&[0, 5]), "{:?}", &packet[..length]);
            Ok(())
        })
    });
    assert_eq!(outcome, Ok(()));
    runtime.block_on(async {
        assert_eq!(ask(web, "GET /ipxe/x86_64.efi HTTP/1.1\r\n").await.1, IPXE);
        assert_eq!(load(packets, "ipxe/x86_64.efi", "").await.as_deref(), Ok(IPXE));
    });
}
