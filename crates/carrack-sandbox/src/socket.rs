//! The socket between the caller and its helper: packets of JSON, the first one with descriptors beside it, and the
//! caller's death as end of file.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The plan and the three standard streams.
pub(crate) const DESCRIPTORS: usize = 4;

/// A report is a few hundred bytes; paths can make it longer.
const LONGEST_PACKET: usize = 64 * 1024;

/// One end. Packets from the caller are signal numbers, packets to it are [`Report`](crate::wire::Report)s.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// Two connected ends, closed on execution.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(ours), theirs))
    }

    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    pub(crate) fn send_descriptors(&self, descriptors: [BorrowedFd<'_>; DESCRIPTORS]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        retry(|| rustix::net::sendmsg(&self.0, &[IoSlice::new(b"0")], &mut control, SendFlags::NOSIGNAL))?;
        Ok(())
    }

    /// Errors: `InvalidData` if the packet has other descriptors than expected, as when a person starts the helper.
    pub(crate) fn receive_descriptors(&self) -> io::Result<[OwnedFd; DESCRIPTORS]> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        retry(|| {
            rustix::net::recvmsg(
                &self.0,
                &mut [IoSliceMut::new(&mut byte)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
        })?;
        let received: Vec<OwnedFd> = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            })
            .flatten()
            .collect();
        received.try_into().map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// Waits while the other end is slow.
    pub(crate) fn send(&self, packet: &impl Serialize) -> io::Result<()> {
        let bytes = serde_json::to_vec(packet)?;
        retry(|| rustix::net::send(&self.0, &bytes, SendFlags::NOSIGNAL))?;
        Ok(())
    }

    /// Errors: `WouldBlock` if the other end is slow.
    pub(crate) fn try_send(&self, packet: &impl Serialize) -> io::Result<()> {
        let bytes = serde_json::to_vec(packet)?;
        retry(|| rustix::net::send(&self.0, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT))?;
        Ok(())
    }

    /// The next packet; `None` when the other end is closed.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        let mut bytes = vec![0; LONGEST_PACKET];
        let (length, _) = retry(|| match rustix::net::recv(&self.0, &mut bytes[..], RecvFlags::empty()) {
            // The other end closed with packets of ours unread; what it sent before is still to come.
            Err(Errno::CONNRESET) => Err(Errno::INTR),
            result => result,
        })?;
        if length == 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&bytes[..length])?))
    }

    /// Closes both directions, for every copy of this end.
    pub(crate) fn shut_down(&self) {
        // Failing means that the other end is gone, which is what was wanted.
        let _ = rustix::net::shutdown(&self.0, Shutdown::Both);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}
