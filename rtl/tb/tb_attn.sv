// acc_attn against the device model's ATT.
`default_nettype none
module tb_attn (
  output logic done_o
);
  cache_rigs #(.Op(acc_pkg::OpAtt), .Cases(2)) u_rigs (.done_o(done_o));
endmodule
`default_nettype wire
