// acc_kv_wr against the device model's KVW.
`default_nettype none
module tb_kv_wr (
  output logic done_o
);
  cache_rigs #(.Op(acc_pkg::OpKvw), .Cases(4)) u_rigs (.done_o(done_o));
endmodule
`default_nettype wire
