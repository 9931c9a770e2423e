//! The commands served: one line for each says which handler it has and where that runs. All
//! else derives from these lines.

use std::sync::Arc;

use transport::{Connection, Executor, HandlerTable, Refusal, Reply};
use wire::command::{self, Command, RequestCode};
use wire::frame::{Frame, Head};

use crate::error::NameServerError;
use crate::state::State;
use crate::{brokers, configuration, kv, topics};

/// A request, its fields read.
pub(crate) struct Request<'a, C: Command> {
    pub head: &'a Head,
    pub header: C::Request<'a>,
    pub body: &'a [u8],
    pub connection: &'a Arc<Connection>,
}

/// What a handler comes to.
pub(crate) type Answer<C> = Result<Reply<<C as Command>::Response<'static>>, NameServerError>;

/// A plain function from a request to its answer.
type Handler<C> = for<'a> fn(&State, Request<'a, C>) -> Answer<C>;

/// Where a handler runs.
#[derive(Clone, Copy)]
enum Class {
    /// On the connection's task: hot, and answered from memory.
    Inline,
    /// On one thread beside the runtime, so that what a broker says of itself is heard in its
    /// order. Bodies can be large.
    Registration,
    /// On a few threads beside the runtime, since it may scan tables or write a file.
    Admin,
}

macro_rules! routes {
    ($($command:ident => $handler:path, $class:ident;)*) => {
        /// The request codes that a name server serves.
        pub const SERVED: &[RequestCode] = &[$(RequestCode::$command,)*];

        /// The handlers of all of them.
        pub(crate) fn handler_table(state: &Arc<State>) -> HandlerTable {
            let mut routes = Routes::new(state);
            $(routes.add::<command::$command>(Class::$class, $handler);)*
            routes.table
        }
    };
}

routes! {
    GetRouteInfoByTopic => topics::route, Inline;
    BrokerHeartbeat => brokers::heartbeat, Inline;
    GetBrokerMemberGroup => brokers::member_group, Inline;

    RegisterBroker => brokers::register, Registration;
    UnregisterBroker => brokers::unregister, Registration;
    QueryDataVersion => brokers::query_data_version, Registration;
    RegisterTopicInNamesrv => topics::register, Registration;
    DeleteTopicInNamesrv => topics::delete, Registration;

    GetBrokerClusterInfo => brokers::cluster_info, Admin;
    WipeWritePermOfBroker => brokers::wipe_write_permission, Admin;
    AddWritePermOfBroker => brokers::add_write_permission, Admin;

    GetAllTopicListFromNameServer => topics::all, Admin;
    GetTopicsByCluster => topics::of_cluster, Admin;
    GetSystemTopicListFromNs => topics::of_system, Admin;
    GetUnitTopicList => topics::of_units, Admin;
    GetHasUnitSubTopicList => topics::with_unit_subscribers, Admin;
    GetHasUnitSubUnUnitTopicList => topics::common_with_unit_subscribers, Admin;

    PutKvConfig => kv::put, Admin;
    GetKvConfig => kv::get, Admin;
    DeleteKvConfig => kv::delete, Admin;
    GetKvListByNamespace => kv::list, Admin;

    UpdateNamesrvConfig => configuration::update, Admin;
    GetNamesrvConfig => configuration::get, Admin;
}

/// The table of handlers while it is made.
struct Routes<'s> {
    state: &'s Arc<State>,
    registration: Arc<Executor>,
    admin: Arc<Executor>,
    table: HandlerTable,
}

impl<'s> Routes<'s> {
    fn new(state: &'s Arc<State>) -> Self {
        let settings = &state.settings.load().namesrv;
        let (threads, queue) = (
            settings.default_thread_pool_nums,
            settings.default_thread_pool_queue_capacity,
        );
        Self {
            state,
            registration: Executor::on_threads("registration", 1, queue),
            admin: Executor::on_threads("admin", threads, queue),
            table: HandlerTable::new(),
        }
    }

    fn add<C: Command + 'static>(&mut self, class: Class, handler: Handler<C>) {
        let state = Arc::clone(self.state);
        let executor = match class {
            Class::Inline => {
                return self
                    .table
                    .inline_each(&[C::CODE], move |connection, frame| {
                        answer::<C>(&state, connection, frame, handler)
                    });
            }
            Class::Registration => &self.registration,
            Class::Admin => &self.admin,
        };
        self.table
            .spawned(&[C::CODE], executor, move |connection, frame| {
                let state = Arc::clone(&state);
                async move { answer::<C>(&state, &connection, &frame, handler) }
            });
    }
}

/// Reads the fields of a request and has it handled.
fn answer<C: Command>(
    state: &State,
    connection: &Arc<Connection>,
    frame: &Frame,
    handler: Handler<C>,
) -> Result<Reply<C::Response<'static>>, Refusal> {
    let header = frame.header().map_err(NameServerError::Header)?;
    let request = Request {
        head: &frame.head,
        header,
        body: &frame.body,
        connection,
    };
    Ok(handler(state, request)?)
}
