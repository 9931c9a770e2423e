//! Headers of the controller: master elections, broker ids, in-sync replicas.

use std::borrow::Cow;

use super::Header;

/// Asks for a master of a broker group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "ElectMasterRequestHeader")]
pub struct ElectMasterRequest<'a> {
    /// Name of the cluster.
    #[header(required)]
    pub cluster_name: Cow<'a, str>,
    /// Name of the broker group.
    #[header(required)]
    pub broker_name: Cow<'a, str>,
    /// Broker that asks, or that is wanted as master; -1: none in particular.
    #[header(required)]
    pub broker_id: i64,
    /// Whether that broker and no other shall be master.
    #[header(required)]
    pub designate_elect: bool,
    /// When it was asked, in milliseconds since 1970.
    pub invoke_time: Option<i64>,
}

/// The master that was elected.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "ElectMasterResponseHeader")]
pub struct ElectMasterResponse<'a> {
    /// Id of the master.
    pub master_broker_id: Option<i64>,
    /// Address of the master.
    pub master_address: Option<Cow<'a, str>>,
    /// How many masters the group has had.
    pub master_epoch: Option<i32>,
    /// How often its in-sync replicas have changed.
    pub sync_state_set_epoch: Option<i32>,
}

/// A master changes the set of in-sync replicas, which is the body.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "AlterSyncStateSetRequestHeader")]
pub struct AlterSyncStateSetRequest<'a> {
    /// Name of the broker group.
    pub broker_name: Option<Cow<'a, str>>,
    /// Id of the master that asks.
    pub master_broker_id: Option<i64>,
    /// Master epoch that it knows.
    pub master_epoch: Option<i32>,
    /// When it was asked, in milliseconds since 1970.
    pub invoke_time: i64,
}

/// The new set's number.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "AlterSyncStateSetResponseHeader")]
pub struct AlterSyncStateSetResponse {
    /// How often the in-sync replicas have changed.
    pub new_sync_state_set_epoch: i32,
}

/// Asks for the master of a broker group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetReplicaInfoRequestHeader")]
pub struct GetReplicaInfoRequest<'a> {
    /// Name of the broker group.
    pub broker_name: Option<Cow<'a, str>>,
}

/// The master of a broker group; the body is its in-sync replicas.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetReplicaInfoResponseHeader")]
pub struct GetReplicaInfoResponse<'a> {
    /// Id of the master.
    pub master_broker_id: Option<i64>,
    /// Address of the master.
    pub master_address: Option<Cow<'a, str>>,
    /// How many masters the group has had.
    pub master_epoch: Option<i32>,
}

/// The state of the controllers.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetMetaDataResponseHeader")]
pub struct GetMetaDataResponse<'a> {
    /// Raft group.
    pub group: Option<Cow<'a, str>>,
    /// Id of the leading controller.
    pub controller_leader_id: Option<Cow<'a, str>>,
    /// Address of the leading controller.
    pub controller_leader_address: Option<Cow<'a, str>>,
    /// Whether the asked controller leads.
    pub is_leader: bool,
    /// All controllers, joined by `;`.
    pub peers: Option<Cow<'a, str>>,
}

/// Asks which id a new broker of a group may take.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetNextBrokerIdRequestHeader")]
pub struct GetNextBrokerIdRequest<'a> {
    /// Name of the cluster.
    pub cluster_name: Option<Cow<'a, str>>,
    /// Name of the broker group.
    pub broker_name: Option<Cow<'a, str>>,
}

/// The id that a new broker may take.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetNextBrokerIdResponseHeader")]
pub struct GetNextBrokerIdResponse<'a> {
    /// Name of the cluster.
    pub cluster_name: Option<Cow<'a, str>>,
    /// Name of the broker group.
    pub broker_name: Option<Cow<'a, str>>,
    /// First free id.
    pub next_broker_id: Option<i64>,
}

/// A new broker takes an id.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "ApplyBrokerIdRequestHeader")]
pub struct ApplyBrokerIdRequest<'a> {
    /// Name of the cluster.
    pub cluster_name: Option<Cow<'a, str>>,
    /// Name of the broker group.
    pub broker_name: Option<Cow<'a, str>>,
    /// Id that it takes.
    pub applied_broker_id: Option<i64>,
    /// Text that proves later that the id is this broker's: address and time.
    pub register_check_code: Option<Cow<'a, str>>,
}

/// Says that the id is taken.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "ApplyBrokerIdResponseHeader")]
pub struct ApplyBrokerIdResponse<'a> {
    /// Name of the cluster.
    pub cluster_name: Option<Cow<'a, str>>,
    /// Name of the broker group.
    pub broker_name: Option<Cow<'a, str>>,
}

/// A broker with an id goes online.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "RegisterBrokerToControllerRequestHeader")]
pub struct RegisterBrokerToControllerRequest<'a> {
    /// Name of the cluster.
    pub cluster_name: Option<Cow<'a, str>>,
    /// Name of the broker group.
    pub broker_name: Option<Cow<'a, str>>,
    /// Id that it took before.
    pub broker_id: Option<i64>,
    /// Address that clients reach it at.
    pub broker_address: Option<Cow<'a, str>>,
    /// When it was asked, in milliseconds since 1970.
    pub invoke_time: i64,
}

/// The master of the broker's group; the body is its in-sync replicas.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "RegisterBrokerToControllerResponseHeader")]
pub struct RegisterBrokerToControllerResponse<'a> {
    /// Name of the cluster.
    pub cluster_name: Option<Cow<'a, str>>,
    /// Name of the broker group.
    pub broker_name: Option<Cow<'a, str>>,
    /// Id of the master.
    pub master_broker_id: Option<i64>,
    /// Address of the master.
    pub master_address: Option<Cow<'a, str>>,
    /// How many masters the group has had.
    pub master_epoch: Option<i32>,
    /// How often the in-sync replicas have changed.
    pub sync_state_set_epoch: Option<i32>,
}

/// Tells the brokers of a group who is master now; the body is the in-sync replicas.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "NotifyBrokerRoleChangedRequestHeader")]
pub struct NotifyBrokerRoleChangedRequest<'a> {
    /// Address of the master.
    pub master_address: Option<Cow<'a, str>>,
    /// How many masters the group has had.
    pub master_epoch: Option<i32>,
    /// How often the in-sync replicas have changed.
    pub sync_state_set_epoch: Option<i32>,
    /// Id of the master.
    pub master_broker_id: Option<i64>,
}

/// Forgets brokers of a group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "CleanControllerBrokerDataRequestHeader")]
pub struct CleanControllerBrokerDataRequest<'a> {
    /// Name of the cluster.
    pub cluster_name: Option<Cow<'a, str>>,
    /// Name of the broker group.
    #[header(required)]
    pub broker_name: Cow<'a, str>,
    /// Ids to forget, joined by `;`; absent: the whole group.
    pub broker_controller_ids_to_clean: Option<Cow<'a, str>>,
    /// Whether living brokers may be forgotten.
    pub is_clean_living_broker: bool,
    /// When it was asked, in milliseconds since 1970.
    pub invoke_time: i64,
}
