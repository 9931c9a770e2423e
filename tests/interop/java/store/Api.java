package kerolox.store;

import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.impl.ClientRemotingProcessor;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.remoting.netty.NettyClientConfig;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** The broker, asked request by request. */
final class Api {
    static final long PATIENCE_MILLIS = 60_000;

    final MQClientAPIImpl client;
    final String address;

    Api(String address) {
        this.address = address;
        client = new MQClientAPIImpl(new NettyClientConfig(), new ClientRemotingProcessor(null), null, new ClientConfig());
        client.start();
    }

    RemotingCommand ask(RemotingCommand request) throws Exception {
        return client.getRemotingClient().invokeSync(address, request, PATIENCE_MILLIS);
    }
}
