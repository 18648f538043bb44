//! Whole loads over real sockets of the loopback interface: what arrives is the stamped image, and nothing else does.

mod strangers;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use machine_config::seed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

use super::client::{Client, Loader, Platform};
use super::event::Event;
use super::names::{Served, Which};
use super::neighbour::Kernel;
use super::plan::{Boot, Unknown};
use super::stock::Stock;
use super::testing::{Bench, IPXE, MAC, run};
use super::warehouse::{Content, Denied, Warehouse};
use super::{http, minted, server, tftp};
use crate::board::Architecture;
use crate::image::digest::Digest;
use crate::stamp::manifest::Manifest;
use crate::stamp::testing::{fleet, public};

/// Longer than any answer takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server said to a request over HTTP: its head, and the body.
async fn ask(address: SocketAddr, request: &str) -> (String, Vec<u8>) {
    ask_from(Ipv4Addr::LOCALHOST, address, request).await
}

/// The same, asked from another address.
async fn ask_from(own: Ipv4Addr, address: SocketAddr, request: &str) -> (String, Vec<u8>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((own, 0).into()).expect("bound");
    let mut stream = socket.connect(address).await.expect("connected");
    let request = format!("{request}Host: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("in time").expect("read");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let body = answer.split_off(end);
    (String::from_utf8(answer).expect("text").to_lowercase(), body)
}

async fn http(bench: &Bench, once: Option<u32>) -> (SocketAddr, Arc<Warehouse>) {
    let warehouse = bench.open(once);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(http::server::run(listener, warehouse.clone()));
    (address, warehouse)
}

async fn tftp(bench: &Bench, once: Option<u32>) -> (SocketAddr, Arc<Warehouse>) {
    let warehouse = bench.open(once);
    let socket = server::udp("lo", SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("bound");
    let address = socket.local_addr().expect("bound");
    tokio::spawn(tftp::server::run(socket, warehouse.clone()));
    (address, warehouse)
}

/// Waits until something is so that other tasks bring about.
async fn until(is_so: impl Fn() -> bool) {
    let so = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await; // the server's own task offers no event to wait for
        }
    };
    timeout(PATIENCE, so).await.expect("in time");
}

/// Waits until so many complete loads were told, which is when they are on the disk.
async fn loaded(bench: &Bench, times: usize) {
    until(|| bench.events.all().iter().filter(|event| matches!(event, Event::Loaded { .. })).count() >= times).await;
}

/// The image that a machine must get: the base with what its manifest says.
fn expected(bench: &Bench, got: &[u8]) {
    let manifest =
        std::fs::read(bench.folder.path().join("store-1.manifest.json")).expect("it was written before the image left");
    let manifest = Manifest::read(&manifest, Some(&public(9))).expect("it is the station's");
    assert_eq!(Digest::of(got), manifest.image.sha256);
    let base = std::fs::read(bench.image()).expect("read");
    assert_eq!(got.len(), base.len());
    let differing: Vec<usize> = (0..base.len()).filter(|at| base[*at] != got[*at]).collect();
    let (first, last) = (differing[0], differing[differing.len() - 1]);
    let place = crate::stamp::base::Opened::open(&bench.image()).expect("opened").seed();
    assert!(place.contains(&(first as u64)) && place.contains(&(last as u64)), "{first}..={last} is not in {place:?}");
    let seed = &got[place.start as usize..place.end as usize];
    let seed = seed::decode(seed).expect("a SEED").seed;
    assert_eq!(seed.device_name.expect("a name").as_str(), "store-1");
    let token = std::fs::read_to_string(bench.folder.path().join("store-1.token")).expect("it was written too");
    assert_eq!(seed.join_token.expect("a token").expose(), token.trim());
}

#[test]
fn a_machine_gets_its_own_image_over_http() {
    let bench = Bench::new();
    run(async {
        let (address, warehouse) = http(&bench, None).await;
        assert!(!bench.folder.path().join("store-1.manifest.json").exists(), "no machine was served yet");
        let path = format!("/boot/{MAC}/skerry.efi");
        let (head, body) = ask(address, &format!("HEAD {path} HTTP/1.1\r\n")).await;
        let length = std::fs::metadata(bench.image()).expect("there").len();
        assert!(head.starts_with("http/1.1 200") && head.contains(&format!("content-length: {length}\r\n")), "{head}");
        assert!(body.is_empty());
        assert_eq!(warehouse.loads(&Bench::mac()), 0, "a question is no load");
        let (_, body) = ask(address, &format!("GET {path} HTTP/1.1\r\n")).await;
        expected(&bench, &body);
        loaded(&bench, 1).await;
        assert_eq!(warehouse.loads(&Bench::mac()), 1);
        let (first, rest) = body.split_at(5000);
        let (head, part) = ask(address, &format!("GET {path} HTTP/1.1\r\nRange: bytes=0-4999\r\n")).await;
        assert!(
            head.starts_with("http/1.1 206") && head.contains(&format!("content-range: bytes 0-4999/{length}\r\n")),
            "{head}"
        );
        assert_eq!((part.as_slice(), warehouse.loads(&Bench::mac())), (first, 1), "a part is no load");
        let (_, part) = ask(address, &format!("GET {path} HTTP/1.1\r\nRange: bytes=5000-\r\n")).await;
        loaded(&bench, 2).await;
        assert_eq!((part.as_slice(), warehouse.loads(&Bench::mac())), (rest, 2), "all parts together are one");
        assert_eq!(std::fs::metadata(bench.folder.path()).map(|_| bench.open(None).loads(&Bench::mac())).expect("there"), 2);
    });
}

#[test]
fn http_refuses_everything_else_by_name() {
    let bench = Bench::new();
    run(async {
        let (address, warehouse) = http(&bench, Some(1)).await;
        let path = format!("/boot/{MAC}/skerry.efi");
        for (request, expected) in [
            (format!("POST {path} HTTP/1.1\r\nContent-Length: 0\r\n"), "http/1.1 405"),
            (format!("DELETE {path} HTTP/1.1\r\n"), "http/1.1 405"),
            (format!("GET {path} HTTP/1.1\r\nRange: bytes=99999999999-\r\n"), "http/1.1 416"),
            ("GET / HTTP/1.1\r\n".into(), "http/1.1 404"),
            ("GET /boot/../../etc/passwd HTTP/1.1\r\n".into(), "http/1.1 404"),
            ("GET /boot/%2e%2e/skerry.efi HTTP/1.1\r\n".into(), "http/1.1 404"),
            ("GET /boot/52-54-00-00-00-02/skerry.efi HTTP/1.1\r\n".into(), "http/1.1 403"),
            ("GET /boot/blank-aarch64/skerry.efi HTTP/1.1\r\n".into(), "http/1.1 404"),
            ("GET /ipxe/aarch64.efi HTTP/1.1\r\n".into(), "http/1.1 404"),
        ] {
            let (head, _) = ask(address, &request).await;
            assert!(head.starts_with(expected), "{request} {head}");
        }
        assert_eq!(ask(address, "GET /ipxe/x86_64.efi HTTP/1.1\r\n").await.1, IPXE);
        let script = format!("GET /boot/{MAC}/boot.ipxe HTTP/1.1\r\n");
        assert!(String::from_utf8(ask(address, &script).await.1).expect("text").contains("skerry.runtime="));
        let load = format!("GET {path} HTTP/1.1\r\n");
        assert!(ask(address, &load).await.0.starts_with("http/1.1 200"));
        loaded(&bench, 1).await;
        assert!(ask(address, &load).await.0.starts_with("http/1.1 403"), "once is once");
        assert!(!String::from_utf8(ask(address, &script).await.1).expect("text").contains("kernel"));
        let client = Client { mac: Bench::mac(), loader: Loader::Http, platform: Platform::Uefi(Architecture::X86_64) };
        assert_eq!(warehouse.answer(&client), None);
    });
}

/// The end of an image, small enough for the kernel to take it over at once, and larger than what a client without room takes.
const END_BYTES: u64 = 8 << 10;

/// Loads all but the end, then asks for that with no room to take it in; returns when the server has handed everything over.
async fn load_but_the_end(bench: &Bench, address: SocketAddr) -> TcpStream {
    let bytes = std::fs::metadata(bench.image()).expect("there").len();
    let request = |range: String| format!("GET /boot/{MAC}/skerry.efi HTTP/1.1\r\nRange: bytes={range}\r\n");
    let begin = bytes - END_BYTES;
    assert!(ask(address, &request(format!("0-{}", begin - 1))).await.0.starts_with("http/1.1 206"));
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(1).expect("the least there is");
    let mut stream = socket.connect(address).await.expect("connected");
    let text = format!("{}Host: x\r\n\r\n", request(format!("{begin}-")));
    stream.write_all(text.as_bytes()).await.expect("sent");
    let is_end = |event: &Event| matches!(event, Event::Progress { sent, .. } if *sent == bytes);
    until(|| bench.events.all().iter().any(is_end)).await;
    // As long as a server that counts what it handed over needs for that, many times over.
    tokio::time::sleep(Duration::from_millis(200)).await;
    stream
}

#[test]
fn a_load_that_breaks_off_does_not_count() {
    let bench = Bench::new();
    run(async {
        let (address, warehouse) = http(&bench, None).await;
        let stream = load_but_the_end(&bench, address).await;
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("set");
        drop(stream); // as a machine that loses power and comes back: its network knows of no connection
        let is_broken = |event: &Event| matches!(event, Event::Broken { .. });
        until(|| bench.events.all().iter().any(is_broken)).await;
        assert!(!bench.events.all().iter().any(|event| matches!(event, Event::Loaded { .. })));
        assert_eq!(warehouse.loads(&Bench::mac()), 0);
    });
}

#[test]
fn a_load_counts_when_its_end_has_arrived() {
    let bench = Bench::new();
    run(async {
        let (address, warehouse) = http(&bench, None).await;
        let mut stream = load_but_the_end(&bench, address).await;
        assert_eq!(warehouse.loads(&Bench::mac()), 0, "the end is on its way");
        let read = async {
            while !bench.events.all().iter().any(|event| matches!(event, Event::Loaded { .. })) {
                let read = timeout(Duration::from_millis(50), stream.read(&mut [0; 512])).await;
                assert!(!matches!(read, Ok(Ok(0) | Err(_))), "{read:?}");
            }
        };
        timeout(PATIENCE, read).await.expect("in time");
        assert_eq!(warehouse.loads(&Bench::mac()), 1, "on a connection that lives on");
    });
}

#[test]
fn parts_that_leave_a_gap_are_no_load() {
    let bench = Bench::new();
    run(async {
        let (address, warehouse) = http(&bench, None).await;
        let ask = async |range: &str| {
            let request = format!("GET /boot/{MAC}/skerry.efi HTTP/1.1\r\nRange: bytes={range}\r\n");
            assert!(ask(address, &request).await.0.starts_with("http/1.1 206"));
        };
        for range in ["0-999", "5000-", "5000-", "0-4998", "5000-"] {
            ask(range).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await; // nothing tells that nothing happens
        assert_eq!(warehouse.loads(&Bench::mac()), 0);
        for range in ["0-4999", "3000-5999", "6000-"] {
            ask(range).await;
        }
        loaded(&bench, 1).await;
        assert_eq!(warehouse.loads(&Bench::mac()), 1);
    });
}

/// Loads a file as firmware does; an error packet's words otherwise.
async fn load(server: SocketAddr, file: &str, options: &str) -> Result<Vec<u8>, String> {
    load_from(Ipv4Addr::LOCALHOST, server, file, options).await
}

/// The same, asked from another address.
async fn load_from(own: Ipv4Addr, server: SocketAddr, file: &str, options: &str) -> Result<Vec<u8>, String> {
    let socket = UdpSocket::bind((own, 0)).await.expect("bound");
    let request = [&[0, 1], file.as_bytes(), b"\0octet\0", options.as_bytes()].concat();
    socket.send_to(&request, server).await.expect("sent");
    let (mut content, mut next, mut since, mut buffer) = (Vec::new(), 1u16, 0, vec![0; 2000]);
    let (mut block, mut window) = (512, 1);
    loop {
        let (length, from) = timeout(PATIENCE, socket.recv_from(&mut buffer)).await.expect("in time").expect("read");
        let ack = |number: u16| [&[0, 4], &number.to_be_bytes()[..]].concat();
        match &buffer[..length] {
            [0, 5, _, _, words @ ..] => return Err(String::from_utf8_lossy(words).trim_end_matches('\0').to_owned()),
            [0, 6, words @ ..] => {
                let words: Vec<_> = std::str::from_utf8(words).expect("text").split('\0').collect();
                for pair in words.chunks_exact(2) {
                    match pair[0] {
                        "blksize" => block = pair[1].parse().expect("a number"),
                        "windowsize" => window = pair[1].parse().expect("a number"),
                        "tsize" => content.reserve(pair[1].parse().expect("a number")),
                        other => panic!("{other} was not asked for"),
                    }
                }
                socket.send_to(&ack(0), from).await.expect("sent");
            }
            [0, 3, high, low, data @ ..] if u16::from_be_bytes([*high, *low]) == next => {
                content.extend_from_slice(data);
                since += 1;
                if since == window || data.len() < block {
                    since = 0;
                    socket.send_to(&ack(next), from).await.expect("sent");
                }
                if data.len() < block {
                    return Ok(content);
                }
                next = next.wrapping_add(1);
            }
            other => panic!("unexpected packet {:?}", &other[..4]),
        }
    }
}

#[test]
fn a_machine_gets_its_own_image_over_tftp() {
    let bench = Bench::new();
    run(async {
        let (address, warehouse) = tftp(&bench, Some(2)).await;
        let file = format!("boot/{MAC}/skerry.efi");
        let image = load(address, &file, "tsize\x000\0blksize\x001468\0windowsize\x004\0").await.expect("loaded");
        expected(&bench, &image);
        assert_eq!(load(address, &format!("/{file}"), "blksize\x001400\0").await.expect("loaded"), image);
        loaded(&bench, 2).await;
        assert_eq!(warehouse.loads(&Bench::mac()), 2);
        assert!(load(address, &file, "").await.expect_err("twice is enough").contains("--once"));
        assert_eq!(load(address, "ipxe/x86_64.efi", "").await.as_deref(), Ok(IPXE));
        for name in ["../image", "/etc/passwd", "image", "boot\\x"] {
            assert_eq!(load(address, name, "").await, Err("there is no such file".into()), "{name}");
        }
        let foreign = load(address, "boot/52-54-00-00-00-09/skerry.efi", "").await.expect_err("refused");
        assert!(foreign.contains("another machine's"), "{foreign}");
    });
}

#[test]
fn a_program_on_the_server_itself_gets_no_machine_s_image() {
    let bench = Bench::new();
    let own = |warehouse: Warehouse| {
        let file = Served::Image(Which::Machine(Bench::mac()));
        Arc::new(warehouse).open(&file, Ipv4Addr::LOCALHOST).map(drop)
    };
    let warehouse = |bench: &Bench| Arc::into_inner(bench.open(None)).expect("nobody else has it");
    assert!(own(warehouse(&bench)).is_ok(), "a machine at that address gets it");
    let denied = own(warehouse(&bench).knowing(Box::new(Kernel))).expect_err("as the program asks the kernel");
    assert!(matches!(denied, Denied::Stranger), "{denied}");
}

#[test]
fn records_of_another_stamp_are_never_written_over() {
    let bench = Bench::new();
    let [manifest, token, secret] =
        ["store-1.manifest.json", "store-1.token", minted::FILE].map(|name| bench.folder.path().join(name));
    let give = |stock: &Stock| stock.machine(&Bench::mac()).expect("listed").open().map(drop);
    give(&bench.stock().expect("an empty folder")).expect("given");
    give(&bench.stock().expect("the same stamp")).expect("given again");
    let read = || [&manifest, &token].map(|path| std::fs::read(path).expect("there"));
    let before = read();
    std::fs::remove_file(&secret).expect("there");
    let refused = |place: &std::path::Path| {
        let error = bench.stock().expect_err("another token, as if another command had stamped").to_string();
        assert!(error.contains(&place.display().to_string()) && error.contains("choose another folder"), "{error}");
    };
    refused(&manifest);
    assert_eq!(read(), before);
    std::fs::remove_file(&manifest).expect("there");
    refused(&token);
    std::fs::remove_file(&token).expect("there");
    let stock = bench.stock().expect("all moved away");
    std::fs::write(&token, &before[1]).expect("written");
    let error = give(&stock).expect_err("stamped since the server began").to_string();
    assert!(error.contains("another stamp"), "{error}");
    assert_eq!(std::fs::read(&token).expect("there"), before[1]);
}

#[test]
fn firmware_that_is_not_answered_is_told_of_once() {
    let bench = Bench::new();
    let warehouse = bench.open(None);
    let ask = |mac: &str, platform| {
        warehouse.answer(&Client { mac: mac.parse().expect("a MAC address"), loader: Loader::Pxe, platform })
    };
    let x64 = Platform::Uefi(Architecture::X86_64);
    for _ in 0..3 {
        assert_eq!(ask("52:54:00:00:00:01", x64), Some(Boot::Tftp("ipxe/x86_64.efi".into())));
        assert_eq!(ask("52:54:00:00:00:02", x64), None);
        assert_eq!(ask("52:54:00:00:00:09", x64), None);
        assert_eq!(ask("52:54:00:00:00:01", Platform::Bios), None);
    }
    let told: Vec<String> = bench.events.all().iter().map(|event| format!("{event:?}")).collect();
    assert_eq!(told.len(), 4, "{told:?}");
    for (at, words) in
        ["name: Some(\"store-1\")", "the board other", "no such MAC address", "set its firmware to UEFI"].iter().enumerate()
    {
        assert!(told[at].contains(words), "{}", told[at]);
    }
}

#[test]
fn a_machine_in_no_inventory_may_get_the_fleet_and_nothing_else() {
    let bench = Bench::new();
    let warehouse = bench.open_for(None, Unknown::Maintenance);
    let mac = "52:54:00:00:00:09".parse().expect("a MAC address");
    let client = Client { mac, loader: Loader::Http, platform: Platform::Uefi(Architecture::X86_64) };
    let url = "http://127.0.0.1:8080/boot/blank-x86_64/skerry.efi";
    assert_eq!(warehouse.answer(&client), Some(Boot::Url(url.into())));
    let file = Served::Image(Which::Blank(Architecture::X86_64));
    let Ok(Content::Image(image, _)) = warehouse.open(&file, Ipv4Addr::new(10, 0, 0, 9)) else { panic!("it is for all") };
    let place = crate::stamp::base::Opened::open(&bench.image()).expect("opened").seed();
    let mut seed = vec![0; (place.end - place.start) as usize];
    image.read_at(&mut seed, place.start).expect("read");
    let seed = seed::decode(&seed).expect("a SEED").seed;
    assert_eq!(seed.fleet, fleet(1));
    assert!(seed.device_name.is_none() && seed.hub.is_none() && seed.join_token.is_none() && seed.config.is_none());
    let refusing = bench.open(None);
    assert!(matches!(refusing.open(&file, Ipv4Addr::new(10, 0, 0, 9)), Err(Denied::NotFound)), "only when it was asked for");
}
