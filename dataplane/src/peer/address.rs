//! Where data planes reach each other: how one tells it, and what another makes of it.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket},
    sync::LazyLock,
};

use tokio::net::TcpStream;

/// Why there is no way to another data plane.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nowhere {
    /// Empty.
    #[error("it tells no address where other data planes reach it")]
    Untold,
    /// Neither `HOST:PORT` nor that with `@NET`.
    #[error("{0:?} is no address: HOST:PORT is")]
    Form(String),
    /// Another machine's, or another container's.
    #[error("{0} is a loopback address of another machine")]
    Loopback(SocketAddr),
}

/// Where another data plane is reached from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `HOST:PORT`.
    pub authority: String,
    /// The address itself, where it is no name.
    direct: Option<SocketAddr>,
    /// A refused connection proves that nobody listens there: the address is that of the very process, not of one that
    /// stands before it.
    pub proves: bool,
}

impl Address {
    /// What a data plane that is in the network `here` makes of an address that another tells.
    ///
    /// # Errors
    /// [`Nowhere`].
    pub fn of(told: &str, here: Option<&str>) -> Result<Self, Nowhere> {
        if told.is_empty() {
            return Err(Nowhere::Untold);
        }
        let (authority, net) = match told.split_once('@') {
            Some((authority, net)) => (authority, Some(net)),
            None => (told, None),
        };
        let direct = authority.parse::<SocketAddr>().ok();
        let named = || {
            authority
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if direct.is_none() && !named() {
            return Err(Nowhere::Form(told.to_owned()));
        }
        let at_home = net.is_some() && net == here;
        match direct {
            Some(direct) if net.is_some() && !at_home => Err(Nowhere::Loopback(direct)),
            _ => Ok(Self {
                authority: authority.to_owned(),
                direct,
                proves: direct.is_some_and(|direct| at_home || !direct.ip().is_loopback()),
            }),
        }
    }

    /// A connection to it.
    ///
    /// # Errors
    /// The system's word.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        let stream = match self.direct {
            Some(direct) => TcpStream::connect(direct).await?,
            None => TcpStream::connect(self.authority.as_str()).await?,
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// The network of the loopback addresses of this process.
static HERE: LazyLock<Option<String>> = LazyLock::new(network);

/// The network whose loopback addresses this process has: of this start of the machine, and of the container.
#[must_use]
pub fn here() -> Option<&'static str> {
    HERE.as_deref()
}

fn network() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let net = fs::read_link("/proc/self/ns/net").ok()?;
    let digits = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    Some(format!("{}.{}", boot.trim().get(..8)?, digits(net.to_str()?)))
}

/// What others are told of a listener that is bound to `bound`, by one that reaches the control plane at the URL `control`.
/// A loopback address is told with the network that it is of; one that stands for all addresses as the one by which the
/// control plane is reached. Empty where that cannot be found out.
#[must_use]
pub fn told(bound: SocketAddr, control: &str, here: Option<&str>) -> String {
    let ip = match bound.ip() {
        ip if ip.is_unspecified() => match towards(control, ip) {
            Ok(ip) => ip,
            Err(error) => {
                tracing::warn!(%error, control, "other data planes are not told where to reach this one: give --peer-advertise");
                return String::new();
            }
        },
        ip => ip,
    };
    let addr = SocketAddr::new(ip, bound.port());
    match here {
        Some(here) if ip.is_loopback() => format!("{addr}@{here}"),
        _ => addr.to_string(),
    }
}

/// The own address by which `control` is reached. Nothing is sent.
fn towards(control: &str, bound: IpAddr) -> io::Result<IpAddr> {
    let uri: http::Uri = control.parse().map_err(io::Error::other)?;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(80);
    let socket = UdpSocket::bind((bound, 0))?;
    let mut last = io::Error::other("its name leads nowhere");
    for addr in (host, port).to_socket_addrs()? {
        match socket.connect(addr).and_then(|()| socket.local_addr()) {
            Ok(own) => return Ok(own.ip()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood_there_and_nowhere_else() {
        let bound = SocketAddr::from(([127, 0, 0, 1], 4100));
        let told = told(bound, "http://127.0.0.1:8801", Some("a.1"));
        let address = Address::of(&told, Some("a.1")).unwrap();
        assert_eq!((address.authority.as_str(), address.proves), ("127.0.0.1:4100", true));
        for other in [Some("b.1"), Some("a.2"), None] {
            assert_eq!(Address::of(&told, other), Err(Nowhere::Loopback(bound)), "{other:?}");
        }
    }

    #[test]
    fn a_refusal_proves_something_at_the_direct_address_alone() {
        for (told, proves) in [
            ("10.0.0.5:8803", true),
            ("[fd00::5]:8803", true),
            ("box.example:8803", false),
            ("localhost:8803", false),
            ("127.0.0.1:8803", false),
            ("[::1]:8803", false),
            ("box.example:8803@a.1", false),
        ] {
            assert_eq!(Address::of(told, Some("a.1")).unwrap().proves, proves, "{told}");
        }
        for told in ["box", ":8803", "box:", "box:port", "10.0.0.5"] {
            assert!(matches!(Address::of(told, None), Err(Nowhere::Form(_))), "{told}");
        }
        assert_eq!(Address::of("", None), Err(Nowhere::Untold));
    }

    #[test]
    fn an_address_that_stands_for_all_is_told_as_the_one_towards_the_control_plane() {
        let all = SocketAddr::from(([0, 0, 0, 0], 4100));
        assert_eq!(told(all, "http://127.0.0.1:8801", Some("a.1")), "127.0.0.1:4100@a.1");
        assert_eq!(told(all, "http://127.0.0.1:8801", None), "127.0.0.1:4100");
        assert_eq!(told(all, "no URL at all", Some("a.1")), "");
        let one = SocketAddr::from(([10, 0, 0, 5], 4100));
        assert_eq!(told(one, "http://127.0.0.1:8801", Some("a.1")), "10.0.0.5:4100");
    }
}
