//! Ways to break the machine on purpose: what the simulator must find. Compiled into tests only.
//!
//! Each stands for a bug that others shipped (by its ZOOKEEPER number or from the notes of
//! ZooKeeper's specification), or for a line of this machine that somebody could get wrong.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mutation {
    #[default]
    None,
    /// 2845: what is truncated on disk stays in memory, and counts in the next election.
    TruncatedOnDiskOnly,
    /// 3911, 3023, 4785: NEWLEADER is acknowledged before the history is durable.
    NewLeaderAckedEarly,
    /// 4643: currentEpoch is written before the history it speaks of.
    EpochBeforeHistory,
    /// 4646: a proposal is acknowledged before it is written.
    AckBeforeWrite,
    /// 4685: proposals of the synchronization are acknowledged, and taken for NEWLEADER's acknowledgement.
    EarlyAckCounts,
    /// 4925: what is proposed between NEWLEADER and UPTODATE is not written by the learner.
    HolesOnJoining,
    /// 1277: the counter runs into the epoch.
    CounterOverflow,
    /// PROPOSE does not go to those who have not got UPTODATE yet.
    ProposeToUpToDateOnly,
    /// A proposal that comes twice is taken twice. (The leader sends one twice.)
    DuplicateProposeTaken,
    /// UPTODATE carries what was committed when NEWLEADER was sent, and pings carry nothing.
    UpToDateCarriesOldCommit,
    /// Half of the voters is a quorum.
    QuorumOffByOne,
    /// Observers count in quorums.
    ObserversCounted,
    /// TRUNC is not carried out.
    TruncationSkipped,
    /// A configuration takes effect when it is committed.
    ReconfigAtCommit,
    /// A voter may come or go while another change is not committed.
    ReconfigWhilePending,
    /// An epoch that was promised to another leader is promised again.
    EpochPromisedTwice,
    /// A leader goes on although somebody in its quorum has a better history.
    BetterHistoryIgnored,
    /// ACKEPOCH goes before acceptedEpoch is durable.
    AckEpochEarly,
    /// Acknowledgements for an earlier leader are still sent.
    StaleAckSent,
    /// SYNC is answered without asking a quorum.
    SyncUnconfirmed,
    /// A commit is delivered that is not durable here.
    DeliverBeforeDurable,
}

impl Mutation {
    pub const ALL: [Mutation; 21] = [
        Mutation::TruncatedOnDiskOnly,
        Mutation::NewLeaderAckedEarly,
        Mutation::EpochBeforeHistory,
        Mutation::AckBeforeWrite,
        Mutation::EarlyAckCounts,
        Mutation::HolesOnJoining,
        Mutation::CounterOverflow,
        Mutation::ProposeToUpToDateOnly,
        Mutation::DuplicateProposeTaken,
        Mutation::UpToDateCarriesOldCommit,
        Mutation::QuorumOffByOne,
        Mutation::ObserversCounted,
        Mutation::TruncationSkipped,
        Mutation::ReconfigAtCommit,
        Mutation::ReconfigWhilePending,
        Mutation::EpochPromisedTwice,
        Mutation::BetterHistoryIgnored,
        Mutation::AckEpochEarly,
        Mutation::StaleAckSent,
        Mutation::SyncUnconfirmed,
        Mutation::DeliverBeforeDurable,
    ];
}
